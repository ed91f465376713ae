"""One node: its instances with all that they send, receive and answer."""

from __future__ import annotations

from ...picture.nodes import NodeLine, node_line
from ..paging import PAGE, Window, part_of_line
from ..wording import count, lapse, memory, rate, share
from .instances import copy_item
from .nodes import level, summary
from .page import Item, NotFound, Visit, frame, item


class Node:
    """``/nodes/<node>``. A node that shares a process with others has the page of that process."""

    path, template, label = "/nodes/{node}", "node.html", ""

    async def tree(self, visit: Visit) -> Item:
        """The node, and a part of its instances."""
        line = _found(visit)
        window = Window.read(visit.query, PAGE)
        chosen, start, following = part_of_line(line, window)
        fields = {
            "node": line.name,
            "shown": _shown(start, len(chosen), len(line.copies)),
            "first": window.link() if start else "",
            "next": window.link(following) if following else "",
        }
        lists = {"head": [_head(line)], "instances": [copy_item(copy, visit.now) for copy in chosen]}
        return frame(visit, fields, lists)


def _found(visit: Visit) -> NodeLine:
    name = visit.path["node"]
    line = node_line(visit.snapshot, name)
    if line is None:
        raise NotFound(f"There is no node called {name}: nobody has registered it, and hived knows none of that name.")
    return line


def _head(line: NodeLine) -> Item:
    """How the node is as a whole."""
    used = line.memory
    fields = {
        "summary": summary(line),
        "hosts": f"on {', '.join(line.hosts)}" if line.hosts else "",
        "problem": line.problem,
        "sends": rate(line.sends),
        "receives": rate(line.receives),
        "p99": lapse(line.p99),
        "lost": count(line.lost),
        "failed": count(line.failed),
        "restarts": count(line.restarts),
        "memory": memory(used),
        "cpu": share(line.cpu) if used else "–",
    }
    return item(line.name, level(line), fields)


def _shown(start: int, shown: int, total: int) -> str:
    """Which of the instances these are; "" where they are all."""
    return "" if shown == total else f"instances {start + 1:,} to {start + shown:,} of {total:,}"
