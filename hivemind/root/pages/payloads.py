"""A payload as a tree that a page can fold, however large, deep or hostile it is. Pure.

Each value is an item: ``name`` is what it is called in what holds it, ``text`` how it is shown on one line, the state
its kind. What is left out is counted, so nobody takes a part for the whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

from ...english import amount, size_of
from .page import Item, item

MOST = 120  #: values in one tree
LONGEST = 400  #: characters of one text
DEEPEST = 8  #: levels of lists and objects
BRIEF = 200  #: characters of a payload on one line
MOST_HEX = 32  #: bytes that are shown of bytes
_SHOWN_KEY = 80  #: characters of a name


def tree_of(payload: Any, most: int = MOST) -> list[Item]:
    """The payload as items: one, that holds the others; of ``most`` values at the most."""
    return [_Tree(most).grown("payload", "", payload, 0)]


def brief(payload: Any) -> str:
    """A payload on one line; of a long one the beginning."""
    if isinstance(payload, str):
        return _cut(payload, BRIEF)
    if isinstance(payload, bytes):
        return _of_bytes(payload)
    return _cut("".join(islice(_ENCODER.iterencode(_pruned(payload, DEEPEST)), BRIEF + 1)), BRIEF)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": "))


def _pruned(value: Any, depth: int) -> Any:
    """What of ``value`` may be seen on one line."""
    if isinstance(value, str):
        return value[:BRIEF]
    if depth and isinstance(value, dict):
        return {str(key)[:BRIEF]: _pruned(one, depth - 1) for key, one in islice(value.items(), BRIEF)}
    if depth and isinstance(value, list):
        return [_pruned(one, depth - 1) for one in islice(value, BRIEF)]
    return value if isinstance(value, int | float | None) else "…"


class _Tree:
    """One tree that grows until it has so many values."""

    def __init__(self, most: int) -> None:
        self._left = most

    def grown(self, key: str, name: str, value: Any, depth: int) -> Item:
        self._left -= 1
        kind, text = _leaf(value)
        children = self._children(value, depth) if isinstance(value, dict | list) else []
        return item(key, kind, {"name": _cut(name, _SHOWN_KEY), "text": text}, {"children": children})

    def _children(self, value: dict[str, Any] | list[Any], depth: int) -> list[Item]:
        pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
        found: list[Item] = []
        for name, one in pairs:
            if self._left <= 0 or depth >= DEEPEST:
                left = len(value) - len(found)
                found.append(item("more", "more", {"name": "", "text": f"{left:,} more"}))
                break
            found.append(self.grown(str(len(found)), str(name), one, depth + 1))
        return found


def _leaf(value: Any) -> tuple[str, str]:
    """The kind of a value, and how it is shown where it stands."""
    if value is None or isinstance(value, bool):
        return "word", "null" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return "number", _cut(repr(value), LONGEST)
    if isinstance(value, str):
        return "text", _cut(value, LONGEST)
    if isinstance(value, bytes):
        return "bytes", _of_bytes(value)
    if isinstance(value, dict):
        return "object", f"{{ {amount(len(value), 'field')} }}" if value else "{ }"
    return "list", f"[ {amount(len(value), 'value')} ]" if value else "[ ]"


def _of_bytes(value: bytes) -> str:
    rest = "…" if len(value) > MOST_HEX else ""
    return f"{size_of(len(value))} {value[:MOST_HEX].hex()}{rest}"


def _cut(text: str, most: int) -> str:
    return f"{text[: most - 1]}…" if len(text) > most else text
