"""The living picture: who sends what to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

import orjson

from ...errors import InvalidName
from ...picture.columns import outside
from ...picture.graph import Graph, Kind, Row, graph, narrowed
from ...picture.grouping import PLACE, Grouped, grouped
from ...picture.layout import Box, Edge, Labels, Picture, Space, picture, short
from ...topics import check_pattern, is_pattern
from ..wording import count, rate
from .page import Item, Visit, announced, frame, item

MOST = 150  #: rows that are drawn at once
LONGEST = 1000  #: characters of what an address may ask to be opened
SPACE = Space(widest=34, between=120)


class Network:
    """``/network``; ``?match=`` narrows it, ``&open=`` opens groups of numbered names."""

    path, template, label = "/network", "network.html", "Network"

    async def tree(self, visit: Visit) -> Item:
        """Boxes and curves, and the same as a table."""
        match, opened = visit.query.get("match", "").strip(), opened_in(visit.query.get("open", ""))
        instances = visit.snapshot.instances
        whole = graph([view.record for view in instances], await announced(visit.snapshot, visit.hive), instances)
        chosen, said = meant(whole, match)
        found = grouped(chosen, opened)
        drawn = Graph(found.graph.rows[:MOST])
        if more := len(found.graph.rows) - len(drawn.rows):
            said = f"the first {MOST} of {len(found.graph.rows):,} topics; {more:,} more: filter to see them"
        laid = picture(drawn, Labels(found.nodes, found.topics), SPACE)
        fields = {
            "match": match,
            "open": ",".join(opened),
            "said": said,
            "view": f"0 0 {laid.width:.0f} {laid.height:.0f}",
            "wide": f"{laid.width:.0f}",
            "high": f"{laid.height:.0f}",
            "empty": "" if whole.rows else "Nobody sends or hears anything yet.",
        }
        return frame(
            visit, fields, {**_lists(laid, found, match, opened), "rows": [_row(each, visit) for each in drawn.rows]}
        )


def opened_in(asked: str) -> list[str]:
    """The groups that an address asks to be opened. Raises ValueError for what is too long."""
    if len(asked) > LONGEST:
        raise ValueError("open: too many groups")
    return sorted({each for each in asked.split(",") if PLACE in each})


def meant(whole: Graph, match: str) -> tuple[Graph, str]:
    """What ``match`` asks for, and what is to be said of that: a pattern, or a part of a name."""
    if not match:
        return whole, ""
    try:
        found = narrowed(whole, check_pattern(match))
        if not found.rows and not is_pattern(match):
            found = narrowed(whole, check_pattern(f"*{match}*"))
    except InvalidName:
        return Graph(()), f"{match} is no pattern: write letters, digits and . _ / - with * ? [abc]"
    return found, "" if found.rows else f"{match} matches no topic and no node"


def _lists(laid: Picture, found: Grouped, match: str, opened: Sequence[str]) -> Mapping[str, list[Item]]:
    return {
        "heads": [item(head, "", {"head": head, "x": f"{x:.0f}"}) for head, x in laid.heads],
        "edges": [_edge(each) for each in laid.edges],
        "boxes": [_box(each, _link(each, found, match, opened)) for each in laid.boxes],
        "opened": [
            item(each, "", {"name": each, "close": _query(match, [one for one in opened if one != each])})
            for each in opened
        ],
    }


def _link(box: Box, found: Grouped, match: str, opened: Sequence[str]) -> str:
    """Where a box leads: a group opens, a node or topic has a page of its own, and a pattern none."""
    column, name = box.key
    is_side = column in ("senders", "subscribers")
    if name in (found.nodes if is_side else found.topics):
        return _query(match, [*opened, name])
    if is_side:
        return f"/nodes/{quote(name, safe='')}"
    return f"/topics/{quote(name, safe='')}" if column.startswith("topic") else ""


def _query(match: str, opened: Sequence[str]) -> str:
    asked = {"match": match, "open": ",".join(opened)}
    return f"?{urlencode({name: value for name, value in asked.items() if value})}"


def _edge(edge: Edge) -> Item:
    return item(
        orjson.dumps(edge.key).decode(),
        edge.state,
        {"path": edge.path, "wide": f"{edge.wide:.1f}", "told": edge.told},
    )


def _box(box: Box, link: str) -> Item:
    fields = {
        "place": f"translate({box.left:.0f} {box.top:.0f})",
        "width": f"{box.width:.0f}",
        "height": str(box.height),
        "right": f"{box.width - 12:.0f}",
        "label": short(box.label, SPACE.widest),
        "figure": box.figure,
        "why": short(box.why, SPACE.note),
        "told": box.told,
        "page": link,
    }
    return item(orjson.dumps(box.key).decode(), "trouble" if box.why else "", fields)


def _row(row: Row, visit: Visit) -> Item:
    is_fed = row.kind is Kind.PATTERN and not row.note
    nobody = outside(visit.snapshot.state.should.stopped) if is_fed else "–"
    fields = {
        "senders": ", ".join(one.node for one in row.senders) or nobody,
        "name": row.name,
        "subscribers": ", ".join(one.node for one in row.subscribers) or "–",
        "rate": rate(row.rate),
        "lost": count(row.lost),
        "note": row.note,
    }
    return item(f"{row.kind}/{bool(row.note)}/{row.name}", "trouble" if row.note else "", fields)
