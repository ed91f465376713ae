"""A part of the listing: the page and the API show so many instances at a time, in one order, from one of them on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ..picture.nodes import Copy, NodeLine
from ..picture.snapshot import InstanceView, NodeView, Snapshot, nodes_of, place_of
from ..topics import is_instance, is_node

PAGE = 100  #: nodes on one page
ANSWER = 1000  #: instances in one answer of the API, unless ``limit`` says otherwise
MOST = 10_000  #: the greatest limit
LONGEST_MATCH = 200  #: characters of what is looked for


@dataclass(frozen=True, slots=True)
class Window:
    """Which part is asked for: at most ``limit`` instances, those behind ``after``, whether that is still there or not.

    ``query`` is what was asked, without ``after``.
    """

    after: str = ""
    limit: int = ANSWER
    query: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str], limit: int, *, of_nodes: bool = False) -> Window:
        """From a URL's ``after`` and ``limit``; without the latter, ``limit`` holds. Raises ValueError that says what
        is wrong. ``of_nodes``: it is a part of a list of nodes, by their names, and ``match`` says which of them.
        """
        after, asked, match = query.get("after", ""), query.get("limit", ""), query.get("match", "") * of_nodes
        if after and not (is_node(after) if of_nodes else is_instance(after)):
            what = "a node, such as batman" if of_nodes else "an instance, such as batman.0"
            raise ValueError(f"after: write the name of {what}")
        if len(match) > LONGEST_MATCH:
            raise ValueError(f"match: write at most {LONGEST_MATCH} characters")
        kept = {name: text for name, text in (("match", match), ("limit", asked)) if text}
        if not asked:
            return cls(after, limit, urlencode(kept))
        if not (asked.isascii() and asked.isdigit() and len(asked) < 9 and 0 < int(asked) <= MOST):
            raise ValueError(f"limit: write a number from 1 to {MOST:,}")
        return cls(after, int(asked), urlencode(kept))

    def link(self, after: str = "") -> str:
        """The query of a link to what comes behind ``after``; "": to the first part."""
        return "?" + "&".join(filter(None, (urlencode({"after": after}) if after else "", self.query)))


@dataclass(frozen=True, slots=True)
class Part:
    """What is in a window: the instances by node, how many come before, how many there are, and behind whom it goes on
    ("": it is the end).
    """

    nodes: tuple[NodeView, ...]
    before: int
    total: int
    next: str

    @property
    def shown(self) -> int:
        """How many instances are in it."""
        return sum(len(node.instances) for node in self.nodes)


def part_of(snapshot: Snapshot, window: Window) -> Part:
    """The part of a snapshot that a window shows."""
    views: tuple[InstanceView, ...] = snapshot.instances
    node, _, number = window.after.rpartition(".")
    start = bisect_right(views, place_of(node, int(number)), key=_place) if node else 0
    chosen = views[start : start + window.limit]
    more = start + len(chosen) < len(views)
    return Part(nodes_of(chosen), start, len(views), chosen[-1].record.instance if more else "")


def to_json(snapshot: Snapshot, window: Window) -> dict[str, Any]:
    """What ``/api/nodes`` answers: ``total`` instances there are, and where there are more, ``next`` is to be asked for
    as ``after``.
    """
    part = part_of(snapshot, window)
    return {**snapshot.to_json(part.nodes), "total": part.total, "next": part.next or None}


def part_of_line(line: NodeLine, window: Window) -> tuple[tuple[Copy, ...], int, str]:
    """Of a node's copies those that a window shows, how many come before, and behind whom it goes on ("": it is the
    end).
    """
    after = int(window.after.rpartition(".")[2]) if window.after else -1
    start = bisect_right([copy.number for copy in line.copies], after)
    chosen = line.copies[start : start + window.limit]
    more = start + len(chosen) < len(line.copies)
    return chosen, start, chosen[-1].instance if more else ""


def line_to_json(snapshot: Snapshot, line: NodeLine, window: Window) -> dict[str, Any]:
    """What ``/api/nodes/<node>`` answers; ``total`` and ``next`` as in ``/api/nodes``."""
    chosen, _, following = part_of_line(line, window)
    head = snapshot.to_json(())
    head.pop("nodes")
    shown = [copy.view.to_json() for copy in chosen if copy.view is not None]
    return {**head, **line.to_json(), "instances": shown, "total": len(line.copies), "next": following or None}


def _place(view: InstanceView) -> tuple[bool, str, int]:
    return place_of(view.record.node, view.record.number)
