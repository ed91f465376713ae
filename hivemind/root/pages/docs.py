"""What a hive sends, receives and answers, with what payloads are: ``hm docs`` for people."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

from ...picture.asyncapi import Said, matching, said_by
from ...picture.graph import Hearing, Kind, Row, Sending, copies, graph, natural
from ...picture.shapes import shape
from .page import Item, Visit, announced, frame, item
from .payloads import tree_of
from .topics import address

PAGE = 50  #: topics on one page
LONGEST = 128  #: characters of what is looked for
VALUES = 40  #: of one schema
BRIEF = 300  #: characters of a schema on one line


class Docs:
    """``/docs``."""

    path, template, label = "/docs", "docs.html", "Docs"

    async def tree(self, visit: Visit) -> Item:
        """Topics, then requests, a part at a time."""
        words, after = visit.query.get("q", "")[:LONGEST], visit.query.get("after", "")[:LONGEST]
        records = [view.record for view in visit.snapshot.instances]
        kept = [one.kept.topic for one in visit.snapshot.durable.state.topics]
        known = [*kept, *await announced(visit.snapshot, visit.hive)]
        rows = [row for row in graph(records, known).rows if row.kind is not Kind.PATTERN and _has(row, words)]
        behind = [row for row in rows if not after or _place(row) > _asked(after)]
        said, shown = said_by(records), behind[:PAGE]
        fields = {
            "q": words,
            "none": "" if shown else "Nobody sends, receives or answers that.",
            "next": _link(words, shown[-1]) if len(behind) > PAGE else "",
            "first": _link(words) if after else "",
        }
        return frame(visit, fields, {"channels": [_channel(row, said) for row in shown]})


def _channel(row: Row, said: dict[str, Said]) -> Item:
    is_request = row.kind is Kind.REQUESTS
    return item(
        f"{row.kind}/{row.name}",
        "note" if row.note else "",
        {
            "name": row.name,
            "link": "" if is_request else address(row.name),
            "kind": "requests" if is_request else "topic",
            "senders": "" if is_request else _nodes(row.senders) or "no node",
            "receivers": _nodes(row.subscribers) or "nobody",
            "note": row.note,
        },
        {"payloads": [one for end in row.subscribers for one in _payloads(row, end, said.get(end.node))]},
    )


def _payloads(row: Row, end: Hearing, said: Said | None) -> Iterable[Item]:
    if said is None:
        return
    if row.kind is Kind.REQUESTS:
        found = ((f"{end.node} takes", said.asked.get(row.name)), (f"{end.node} returns", said.answers.get(row.name)))
    else:
        found = ((f"{end.node} takes", matching(said.hears, row.name)), ("", None))
    for who, schema in found:
        if schema is not None:
            yield item(who, "", {"who": who, "shape": shape(schema)[:BRIEF]}, {"payload": tree_of(schema, VALUES)})


def _nodes(ends: Iterable[Sending | Hearing]) -> str:
    return ", ".join(copies(end.node, len(end.instances)) for end in ends)


def _has(row: Row, words: str) -> bool:
    names = [row.name, *(end.node for end in row.senders), *(end.node for end in row.subscribers)]
    return all(any(word in name.casefold() for name in names) for word in words.casefold().split())


def _place(row: Row) -> tuple[bool, tuple[tuple[str, int], ...]]:
    return row.kind is Kind.REQUESTS, natural(row.name)


def _asked(after: str) -> tuple[bool, tuple[tuple[str, int], ...]]:
    kind, _, name = after.partition("/")
    return kind == Kind.REQUESTS.value, natural(name)


def _link(words: str, after: Row | None = None) -> str:
    said = {"q": words, "after": f"{after.kind.value}/{after.name}" if after is not None else ""}
    return "/docs?" + urlencode({name: text for name, text in said.items() if text})
