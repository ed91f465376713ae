"""The picture in the language of Graphviz. Names are escaped: whatever they are, they stay text."""

from __future__ import annotations

from collections.abc import Iterable

from .graph import Graph, Row, called, parties, visible

_HEAD = """digraph hive {
  rankdir=LR;
  ranksep=1.5;
  node [shape=box, style=rounded, fontname="Helvetica"];
  edge [color="#808080"];"""
_WRONG = 'style="rounded,dashed", color="#b45309", fontcolor="#b45309"'


def dot(whole: Graph) -> str:
    """The picture as a directed graph in three columns; what is wrong is dashed, with a word of why."""
    senders = {node: f"s{at}" for at, node in enumerate(parties(row.senders for row in whole.rows))}
    hearers = {node: f"r{at}" for at, node in enumerate(parties(row.subscribers for row in whole.rows))}
    lines = [_HEAD]
    lines += _column("senders", _boxes(senders, parties(row.senders for row in whole.rows)))
    lines += _column("topics", (f"t{at} [{_middle(row)}];" for at, row in enumerate(whole.rows)))
    lines += _column("subscribers", _boxes(hearers, parties(row.subscribers for row in whole.rows)))
    for at, row in enumerate(whole.rows):
        lines += [f"  {senders[end.node]} -> t{at};" for end in row.senders]
        lines += [f"  t{at} -> {hearers[end.node]};" for end in row.subscribers]
    return "\n".join([*lines, "}"])


def _column(name: str, boxes: Iterable[str]) -> list[str]:
    return [f"  subgraph {name} {{", "    rank=same;", *(f"    {box}" for box in boxes), "  }"]


def _boxes(ids: dict[str, str], labels: dict[str, str]) -> Iterable[str]:
    for node, key in ids.items():
        yield f"{key} [label={_quoted(labels[node])}];"


def _middle(row: Row) -> str:
    lines = [called(row), *([row.note] if row.note else [])]
    shape = 'shape=plaintext, style=""' if not row.note else _WRONG
    return f"label={_quoted(*lines)}, {shape}"


def _quoted(*lines: str) -> str:
    text = "\\n".join(visible(line).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return f'"{text}"'
