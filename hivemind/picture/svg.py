"""The picture, drawn: three columns of boxes with curves between them. No script, no font, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from .graph import Graph, visible
from .layout import HEAD, MARGIN, PAD, Box, Edge, Space, picture, short

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
.trouble { stroke: var(--wrong); stroke-opacity: .9; }
.note { stroke: var(--wrong); stroke-opacity: .45; stroke-dasharray: 6 3; }
.edge:hover { stroke: var(--text); stroke-opacity: 1; }
text { fill: var(--text); font: 12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.head { fill: var(--quiet); font: 600 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.why { font-size: 11px; }
.figure { fill: var(--quiet); text-anchor: end; }
"""


def svg(whole: Graph, style: str = STYLE) -> str:
    """The picture as a document of its own, light or dark as the reader has it; ``style`` is "" where the page has one.

    What a pointer rests on is told in full.
    """
    space = Space()
    drawn = picture(whole, space=space)
    size = f'width="{drawn.width:.0f}" height="{drawn.height:.0f}" viewBox="0 0 {drawn.width:.0f} {drawn.height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Who sends what to whom" {size}>',
            *([f"<style>{style}</style>"] if style else []),
            '<rect class="ground" width="100%" height="100%"/>',
            *map(_curve, drawn.edges),
            *(f'<text class="head" x="{x:.1f}" y="{MARGIN + HEAD / 2:.1f}">{head}</text>' for head, x in drawn.heads),
            *(line for box in drawn.boxes for line in _box(box, space)),
            "</svg>",
        ]
    )


def _curve(edge: Edge) -> str:
    state = f" {edge.state}" if edge.state else ""
    return f'<path class="edge{state}" d="{edge.path}" stroke-width="{edge.wide:.1f}">{_title(edge.told)}</path>'


def _box(box: Box, space: Space) -> Iterator[str]:
    x, right = box.left + PAD, box.left + box.width - PAD
    yield f'<g class="{"wrong" if box.why else "right"}">{_title(box.told)}'
    place = f'x="{box.left:.1f}" y="{box.top:.1f}" width="{box.width:.1f}" height="{box.height}"'
    yield f'<rect class="box" {place} rx="7"/>'
    yield f'<text x="{x:.1f}" y="{box.top + 17:.1f}">{_text(short(box.label, space.widest))}</text>'
    if box.figure:
        yield f'<text class="figure" x="{right:.1f}" y="{box.top + 17:.1f}">{_text(box.figure)}</text>'
    if box.why:
        yield f'<text class="why" x="{x:.1f}" y="{box.top + 34:.1f}">{_text(short(box.why, space.note))}</text>'
    yield "</g>"


def _title(text: str) -> str:
    return f"<title>{_text(text)}</title>"


def _text(text: str) -> str:
    return escape(visible(text))
