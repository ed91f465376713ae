"""One node: its instances with all that they send, receive and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...english import duration
from ...picture.nodes import NodeLine, node_line
from ..feeds import LEVELS, Sieve, line_fields
from ..paging import Window, part_of_line
from ..wording import moment
from .errand import errand_item
from .instances import copy_item
from .nodes import figures, level
from .page import Item, NotFound, Visit, frame, item

COPIES = 20
"""Instances on one page: each takes 4 KiB, and a page is to be there in less than 100."""
LAST = 60
"""Entries of its log that the page has without a script."""
NEWS = 600.0
"""Seconds for which what was asked of the hiveds stays on the page after it was done."""


class Node:
    """``/nodes/<node>``. A node that shares a process with others has the page of that process."""

    path, template, label = "/nodes/{node}", "node.html", ""

    async def tree(self, visit: Visit) -> Item:
        """The node, and a part of its instances."""
        line = _found(visit)
        window = Window.read(visit.query, COPIES)
        chosen, start, following = part_of_line(line, window)
        fields = {
            "node": line.name,
            "copies": str(sum(copy.state != "stopped" for copy in line.copies)),
            "unsteered": _unsteered(visit, line),
            "shown": _shown(start, len(chosen), len(line.copies)),
            "first": window.link() if start else "",
            "next": window.link(following) if following else "",
        }
        lists = {
            "head": [_head(line)],
            "errands": _errands(visit, line),
            "crashes": await _crashes(visit, line),
            "instances": [copy_item(copy, visit.now) for copy in chosen],
        }
        return frame(visit, fields, lists)

    async def more(self, visit: Visit) -> Mapping[str, Any]:
        """The end of its log, for who has no script; ``?level=`` and ``match=`` say what is wanted of it."""
        sieve, feeds = Sieve.read(visit.query), visit.hive.feeds if visit.hive is not None else None
        lines = [] if feeds is None else await feeds.last(_found(visit).name, sieve, LAST)
        shown = [line_fields(line) for line in lines]
        return {"log": {"lines": shown, "levels": tuple(LEVELS), "level": sieve.level, "match": sieve.match}}


def _found(visit: Visit) -> NodeLine:
    name = visit.path["node"]
    line = node_line(visit.snapshot, name)
    if line is None:
        raise NotFound(f"There is no node called {name}: nobody has registered it, and hived knows none of that name.")
    return line


def _unsteered(visit: Visit, line: NodeLine) -> str:
    """Why nothing can be done to the node from here; "" if it can."""
    if visit.hive is None or visit.hive.errands is None:
        return "no hived is asked from here"
    should = visit.snapshot.state.should
    if should.is_supervised and not line.is_supervised:
        return "It was started by hand: hived does not run it."
    return ""


def _errands(visit: Visit, line: NodeLine) -> list[Item]:
    """What was asked of the hiveds for it last, while that is news."""
    errands = visit.hive.errands if visit.hive is not None else None
    errand = errands.of(line.name) if errands is not None else None
    is_news = errand is not None and (errand.ended is None or visit.now - errand.ended < NEWS)
    return [errand_item(errand)] if errand is not None and is_news else []


async def _crashes(visit: Visit, line: NodeLine) -> list[Item]:
    """How copies of it ended last against their will."""
    known = visit.hive.crashes if visit.hive is not None else None
    if known is None:
        return []
    programs = [copy.program.name if copy.program is not None else copy.instance for copy in line.copies]
    return [
        item(
            one.program,
            "trouble",
            {
                "program": one.program,
                "how": one.how,
                "when": f"{moment(one.at)}, {duration(visit.now - one.at)} ago",
                "trace": one.trace,
            },
        )
        for one in await known.of(line.name, programs)
    ]


def _head(line: NodeLine) -> Item:
    """How the node is as a whole."""
    hosts = f"on {', '.join(line.hosts)}" if line.hosts else ""
    return item(line.name, level(line), {"hosts": hosts, "problem": line.problem, **figures(line)})


def _shown(start: int, shown: int, total: int) -> str:
    """Which of the instances these are; "" where they are all."""
    return "" if shown == total else f"instances {start + 1:,} to {start + shown:,} of {total:,}"
