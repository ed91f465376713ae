"""What a person looks at in `hm top`, and what a key does to that. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

NODES, TOPICS, NODE = "nodes", "topics", "node"  #: what is shown: all nodes, all topics, or all of one node
PAGE = 10  #: rows that a page up or down goes
_KEYS = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_MEANT = {
    "up": ("\x1b[A", "\x1bOA", "k"),
    "down": ("\x1b[B", "\x1bOB", "j"),
    "page up": ("\x1b[5~",),
    "page down": ("\x1b[6~", " "),
    "first": ("\x1b[H", "\x1bOH", "g"),
    "last": ("\x1b[F", "\x1bOF", "G"),
    "enter": ("\r", "\n", "\x1b[C"),
    "back": ("\x1b", "\x1b[D", "\x7f", "\x08"),
    "other": ("\t",),
    "sort": ("s",),
    "filter": ("/",),
    "quit": ("q",),
    NODES: ("n",),
    TOPICS: ("t",),
}
_NAMES = {key: name for name, keys in _MEANT.items() for key in keys}
_STEPS = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE, "first": -(10**9), "last": 10**9}


@dataclass(frozen=True, slots=True)
class View:
    """``kind`` is NODES, TOPICS, or NODE, which is then ``node``; rows are sorted by the column ``sort`` and have
    ``wanted`` in their name; the row of that name is ``chosen``. While one ``is_typing`` keys change what is wanted.
    """

    kind: str = NODES
    node: str = ""
    sort: str = ""
    wanted: str = ""
    chosen: str = ""
    is_typing: bool = False


def keys_in(typed: str) -> Iterator[str]:
    """The keys in what a terminal sent, each as it sends them."""
    return iter(_KEYS.findall(typed))


def pressed(view: View, key: str, names: Sequence[str], columns: Sequence[str]) -> View | None:
    """The view after a key; None to end. ``names`` are those of the rows that are shown under ``columns``."""
    if view.is_typing:
        return _typed(view, key)
    name = _NAMES.get(key, "")
    if name == "quit":
        return None
    if name in ("filter", "sort") and view.kind == NODE:
        return view  # all of a node is shown as it is: what is typed would change the list that one comes back to
    if name == "filter":
        return replace(view, wanted="", is_typing=True)
    if name == "sort":
        return replace(view, sort=_next(view.sort, columns))
    if name in _STEPS and names:
        at = names.index(view.chosen) if view.chosen in names else 0
        return replace(view, chosen=names[min(max(0, at + _STEPS[name]), len(names) - 1)])
    return _elsewhere(view, name, names)


def heading(view: View, columns: Sequence[str]) -> str:
    """What is shown under ``columns``, by which of them, and of what names."""
    if view.kind == NODE:
        return view.node
    by = f"  by {view.sort}" if view.sort in columns else ""
    return f"{view.kind}{by}{f'  with {view.wanted}' if view.wanted else ''}"


def _elsewhere(view: View, name: str, names: Sequence[str]) -> View:
    """After a key that shows something else."""
    if name == "other":
        name = NODES if view.kind == TOPICS else TOPICS
    if name in (NODES, TOPICS):
        return replace(view, kind=name, chosen="")
    if name == "enter" and view.kind == NODES and names:
        return replace(view, kind=NODE, node=view.chosen if view.chosen in names else names[0])
    if name == "back":
        return replace(view, kind=NODES, chosen=view.node) if view.kind == NODE else replace(view, wanted="")
    return view


def _typed(view: View, key: str) -> View:
    name = _NAMES.get(key, "")
    if name == "enter":
        return replace(view, is_typing=False)
    if key == "\x1b":
        return replace(view, wanted="", is_typing=False)
    if name == "back":
        return replace(view, wanted=view.wanted[:-1])
    return replace(view, wanted=(view.wanted + key)[:64]) if key.isprintable() else view


def _next(sort: str, columns: Sequence[str]) -> str:
    found = [*columns, ""]
    return found[(found.index(sort) + 1) % len(found)] if sort in found else found[0]
