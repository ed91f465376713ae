"""The picture, drawn: three columns of boxes with curves between them. No script, no font, nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from .graph import End, Graph, Kind, called, parties, visible

# All lengths are pixels of a picture that is not scaled.
CHARACTER = 7.3  #: how wide a letter of the monospaced font is
BOX, GAP, PAD = 26, 8, 12  #: a box: how high, what is between two, and inside at its sides
TALL = 42  #: a box with a second line, which says what is wrong
MARGIN, HEAD = 28, 40  #: around the picture; the names of the columns
BETWEEN = 150  #: columns, where the curves are
WIDEST = 56  #: letters in a box; the rest is in what a pointer shows

STYLE = """
:root { color-scheme: light dark; --ground: #f7f6f3; --card: #fff; --line: #d9d5cb; --text: #24262b; --quiet: #6b6f78;
  --edge: #9a9da5; --wrong: #c2372e; }
@media (prefers-color-scheme: dark) { :root { --ground: #16181c; --card: #1e2126; --line: #3a3f49; --text: #e4e6ea;
  --quiet: #989da8; --edge: #6d7380; --wrong: #f0776d; } }
.ground { fill: var(--ground); }
.box { fill: var(--card); stroke: var(--line); }
.wrong .box { stroke: var(--wrong); stroke-dasharray: 5 4; }
.wrong .why { fill: var(--wrong); }
.edge { fill: none; stroke: var(--edge); stroke-opacity: .55; }
.edge:hover { stroke: var(--text); stroke-opacity: 1; }
text { fill: var(--text); font: 12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.head { fill: var(--quiet); font: 600 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.why { font-size: 11px; }
"""


@dataclass(frozen=True, slots=True)
class _Box:
    """One box: what stands in it, and what is wrong."""

    key: object
    label: str
    why: str = ""

    @property
    def height(self) -> int:
        return TALL if self.why else BOX

    @property
    def letters(self) -> int:
        return max(len(_short(self.label)), len(_short(self.why)))


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: its boxes, where they are, and how far down the middle of each is."""

    head: str
    boxes: Sequence[_Box]
    left: float
    width: float
    middles: dict[object, float]

    @property
    def right(self) -> float:
        return self.left + self.width


def svg(whole: Graph, style: str = STYLE) -> str:
    """The picture as a document of its own, light or dark as the reader has it; ``style`` is "" where the page has one.

    A curve is the wider the more was sent, by the power of ten. What a pointer rests on is told in full.
    """
    columns = _laid_out(_columns(whole))
    width = columns[-1].right + MARGIN
    height = max(_height(each.boxes) for each in columns) + HEAD + 2 * MARGIN
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Who sends what to whom" {size}>',
            *([f"<style>{style}</style>"] if style else []),
            '<rect class="ground" width="100%" height="100%"/>',
            *_edges(whole, *columns),
            *(line for column in columns for line in _drawn(column)),
            "</svg>",
        ]
    )


def _columns(whole: Graph) -> list[tuple[str, list[_Box]]]:
    """The three columns. On both sides who has to do with the upper topics stands above, so that few curves cross."""
    middle = [_Box(row, called(row), row.note) for row in whole.rows]
    sides: list[list[Sequence[End]]] = [[row.senders for row in whole.rows], [row.subscribers for row in whole.rows]]
    first, last = ([_Box(node, label) for node, label in _by_place(side)] for side in sides)
    return [("senders", first), ("topics", middle), ("subscribers", last)]


def _by_place(side: Sequence[Sequence[End]]) -> list[tuple[str, str]]:
    places: dict[str, list[int]] = {}
    for at, ends in enumerate(side):
        for end in ends:
            places.setdefault(end.node, []).append(at)
    return sorted(parties(side).items(), key=lambda one: sum(places[one[0]]) / len(places[one[0]]))


def _height(boxes: Sequence[_Box]) -> float:
    return sum(box.height for box in boxes) + GAP * max(0, len(boxes) - 1)


def _laid_out(columns: Iterable[tuple[str, list[_Box]]]) -> list[_Column]:
    named = list(columns)
    tallest = max(_height(boxes) for _, boxes in named)
    found, left = [], float(MARGIN)
    for head, boxes in named:
        width = max([len(head), *(box.letters for box in boxes)]) * CHARACTER + 2 * PAD
        top, middles = MARGIN + HEAD + (tallest - _height(boxes)) / 2, {}
        for box in boxes:
            middles[box.key] = top + box.height / 2
            top += box.height + GAP
        found.append(_Column(head, boxes, left, width, middles))
        left += width + BETWEEN
    return found


def _edges(whole: Graph, senders: _Column, topics: _Column, subscribers: _Column) -> Iterator[str]:
    for row in whole.rows:
        at = topics.middles[row]
        for one in row.senders:
            told = f"{one.node} sent {one.sent:,} on {row.name}"
            yield _curve((senders.right, senders.middles[one.node]), (topics.left, at), one.sent, told)
        for end in row.subscribers:
            by = f" by {', '.join(end.patterns)}" if end.patterns else ""
            told = f"{end.node} {'answered' if row.kind is Kind.REQUESTS else 'got'} {end.received:,}{by}"
            where = (subscribers.left, subscribers.middles[end.node])
            yield _curve((topics.right, at), where, row.sent or end.received, told)


def _curve(start: tuple[float, float], end: tuple[float, float], messages: int, told: str) -> str:
    (x, y), (to_x, to_y) = start, end
    half = (x + to_x) / 2
    wide = 1 + 0.8 * math.log10(1 + max(0, messages))
    path = f"M{x:.1f} {y:.1f}C{half:.1f} {y:.1f} {half:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    return f'<path class="edge" d="{path}" stroke-width="{wide:.1f}">{_title(told)}</path>'


def _drawn(column: _Column) -> Iterator[str]:
    yield f'<text class="head" x="{column.left + PAD:.1f}" y="{MARGIN + HEAD / 2:.1f}">{column.head}</text>'
    for box in column.boxes:
        middle, x = column.middles[box.key], column.left + PAD
        yield f'<g class="{"wrong" if box.why else "right"}">{_title(" — ".join(filter(None, (box.label, box.why))))}'
        yield (
            f'<rect class="box" x="{column.left:.1f}" y="{middle - box.height / 2:.1f}" width="{column.width:.1f}"'
            f' height="{box.height}" rx="7"/>'
        )
        yield f'<text x="{x:.1f}" y="{middle - 4 if box.why else middle + 4:.1f}">{_text(_short(box.label))}</text>'
        if box.why:
            yield f'<text class="why" x="{x:.1f}" y="{middle + 13:.1f}">{_text(_short(box.why))}</text>'
        yield "</g>"


def _title(text: str) -> str:
    return f"<title>{_text(text)}</title>"


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _text(text: str) -> str:
    return escape(visible(text))
