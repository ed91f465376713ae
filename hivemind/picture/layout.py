"""Where everything stands in the picture: three columns of boxes with curves between them. Pure; lengths are pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..english import rate
from .graph import End, Graph, Hearing, Kind, Row, called, parties, visible

CHARACTER = 7.3  #: how wide a letter of the monospaced font is
SMALL = 0.92  #: how much of that one of the second line is
BOX, GAP, PAD = 26, 8, 12  #: a box: how high, what is between two, and inside at its sides
TALL = 42  #: a box with a second line, which says what is wrong
MARGIN, HEAD = 28, 40  #: around the picture; the names of the columns
HEADS = ("senders", "topics", "subscribers")

#: senders, topics or subscribers, and the name
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Space:
    """How much there is: letters in a box, of which the rest is in what a pointer shows; pixels between columns."""

    widest: int = 56
    between: int = 150

    @property
    def note(self) -> int:
        """Letters of what is wrong, which is set smaller and tells more."""
        return int(self.widest * 1.4)


@dataclass(frozen=True, slots=True)
class Box:
    """One box: what stands in it, the messages a second, and what is wrong ("" for what is not known, or nothing)."""

    key: Key
    label: str
    figure: str = ""
    why: str = ""
    left: float = 0.0
    top: float = 0.0
    width: float = 0.0

    @property
    def height(self) -> int:
        """A box with a word of what is wrong has two lines."""
        return TALL if self.why else BOX

    @property
    def told(self) -> str:
        """All of it."""
        return " — ".join(filter(None, (self.label, self.figure, self.why)))


@dataclass(frozen=True, slots=True)
class Edge:
    """One curve: from which box to which, how wide, what is told of it, and how bad it is: trouble, note or ""."""

    key: tuple[Key, Key]
    path: str
    wide: float
    told: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it. ``heads`` are the names of the columns, and where they begin."""

    width: float
    height: float
    heads: Sequence[tuple[str, float]]
    boxes: Sequence[Box]
    edges: Sequence[Edge]


@dataclass(frozen=True, slots=True)
class Labels:
    """How nodes and topics are called that are not called by their names."""

    nodes: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)


def picture(whole: Graph, labels: Labels | None = None, space: Space | None = None) -> Picture:
    """Lay the picture out. On both sides who has to do with the upper topics stands above, so that few curves cross.

    A curve is the wider the more goes along it, by the power of ten: a second, if that is known, else since they began.
    """
    room = space or Space()
    columns = _columns(whole, labels or Labels())
    tallest = max(_height(boxes) for boxes in columns)
    placed, heads, left = list[Box](), list[tuple[str, float]](), float(MARGIN)
    for head, boxes in zip(HEADS, columns, strict=True):
        width = max([len(head), *(_letters(box, room) for box in boxes)]) * CHARACTER + 2 * PAD
        top = MARGIN + HEAD + (tallest - _height(boxes)) / 2
        for box in boxes:
            placed.append(Box(box.key, box.label, box.figure, box.why, left, top, width))
            top += box.height + GAP
        heads.append((head, left + PAD))
        left += width + room.between
    edges = list(_edges(whole, {box.key: box for box in placed}))
    return Picture(left - room.between + MARGIN, tallest + HEAD + 2 * MARGIN, heads, placed, edges)


def short(text: str, room: int) -> str:
    """A text that fits into a box."""
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _columns(whole: Graph, labels: Labels) -> list[list[Box]]:
    senders: list[Sequence[End]] = [row.senders for row in whole.rows]
    subscribers: list[Sequence[End]] = [row.subscribers for row in whole.rows]
    middle = [_middle(row, labels) for row in whole.rows]
    return [_side("senders", senders, labels), middle, _side("subscribers", subscribers, labels)]


def _middle(row: Row, labels: Labels) -> Box:
    name = labels.topics.get(row.name, "")
    label = f"{name} (requests)" if name and row.kind is Kind.REQUESTS else name or called(row)
    return Box(_topic(row), label, "" if row.rate is None else rate(row.rate), row.note)


def _topic(row: Row) -> Key:
    return f"{row.kind}{'!' if row.note else ''}", row.name


def _side(column: str, ends: Sequence[Sequence[End]], labels: Labels) -> list[Box]:
    places: dict[str, list[int]] = {}
    for at, some in enumerate(ends):
        for end in some:
            places.setdefault(end.node, []).append(at)
    known = parties(ends)
    ordered = sorted(known, key=lambda node: sum(places[node]) / len(places[node]))
    return [Box((column, node), labels.nodes.get(node, known[node])) for node in ordered]


def _letters(box: Box, room: Space) -> int:
    figure = len(box.figure) + 2 if box.figure else 0
    return max(
        min(len(visible(box.label)), room.widest) + figure, math.ceil(min(len(visible(box.why)), room.note) * SMALL)
    )


def _height(boxes: Sequence[Box]) -> float:
    return sum(box.height for box in boxes) + GAP * max(0, len(boxes) - 1)


def _edges(whole: Graph, boxes: Mapping[Key, Box]) -> Iterator[Edge]:
    for row in whole.rows:
        topic = boxes[_topic(row)]
        for one in row.senders:
            told = f"{one.node} sent {one.sent:,} on {row.name}{_speed(one.rate)}"
            yield _edge(boxes["senders", one.node], topic, _wide(one.rate, one.sent), told)
        for end in row.subscribers:
            by = f" by {', '.join(end.patterns)}" if end.patterns else ""
            verb = "answered" if row.kind is Kind.REQUESTS else "got"
            told = f"{end.node} {verb} {end.received:,}{by}{_speed(end.rate)}"
            width = _wide(row.rate, row.sent or end.received)
            yield _edge(topic, boxes["subscribers", end.node], width, f"{told}{_lost(end)}", _state(row, end))


def _state(row: Row, end: Hearing) -> str:
    if end.losing or row.note:
        return "trouble"
    return "note" if end.lost else ""


def _lost(end: Hearing) -> str:
    if not end.lost:
        return ""
    return f"; {end.lost:,} lost since it began{f', now {rate(end.losing)}' if end.losing else ''}"


def _speed(per_second: float | None) -> str:
    return "" if per_second is None else f", {rate(per_second)}"


def _wide(per_second: float | None, total: int) -> float:
    if per_second is not None:
        return 1 + 1.5 * math.log10(1 + max(0.0, per_second))
    return 1 + 0.8 * math.log10(1 + max(0, total))


def _edge(one: Box, other: Box, wide: float, told: str, state: str = "") -> Edge:
    x, y = one.left + one.width, one.top + one.height / 2
    to_x, to_y = other.left, other.top + other.height / 2
    half = (x + to_x) / 2
    path = f"M{x:.1f} {y:.1f}C{half:.1f} {y:.1f} {half:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    return Edge((one.key, other.key), path, wide, told, state)
