"""The picture as a flowchart of Mermaid, for Markdown. Names are escaped: whatever they are, they stay text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .graph import Graph, Row, called, parties, visible

_SAFE = re.compile(r"[A-Za-z0-9 ._/-]")
_WRONG = "  classDef wrong stroke:#b45309,color:#b45309,stroke-dasharray:5 4"


def mermaid(whole: Graph) -> str:
    """The picture in three columns; what is wrong is dashed, with a word of why."""
    sent = parties(row.senders for row in whole.rows)
    heard = parties(row.subscribers for row in whole.rows)
    senders = {node: f"s{at}" for at, node in enumerate(sent)}
    hearers = {node: f"r{at}" for at, node in enumerate(heard)}
    lines = ["flowchart LR"]
    lines += _column("senders", [f'{senders[node]}["{_escaped(label)}"]' for node, label in sent.items()])
    lines += _column("topics", [f't{at}(["{_middle(row)}"])' for at, row in enumerate(whole.rows)])
    lines += _column("subscribers", [f'{hearers[node]}["{_escaped(label)}"]' for node, label in heard.items()])
    for at, row in enumerate(whole.rows):
        lines += [f"  {senders[end.node]} --> t{at}" for end in row.senders]
        lines += [f"  t{at} --> {hearers[end.node]}" for end in row.subscribers]
    wrong = [f"t{at}" for at, row in enumerate(whole.rows) if row.note]
    return "\n".join([*lines, *([_WRONG, f"  class {','.join(wrong)} wrong"] if wrong else [])])


def _column(name: str, boxes: Iterable[str]) -> list[str]:
    inner = [f"    {box}" for box in boxes]
    return [f"  subgraph {name}", "    direction TB", *inner, "  end"] if inner else []


def _middle(row: Row) -> str:
    return "<br/>".join(_escaped(line) for line in (called(row), row.note) if line)


def _escaped(text: str) -> str:
    """Mermaid reads Markdown, HTML and its own signs in a text, but no character that is written as its number."""
    return "".join(one if _SAFE.fullmatch(one) else f"#{ord(one)};" for one in visible(text))
