"""All nodes, each in one line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from urllib.parse import quote

from ...picture.faults import short
from ...picture.nodes import BAD, NodeLine, node_lines
from ...states import NodeState
from ...supervisor.processes import ROOT
from ..paging import PAGE, Window
from ..wording import count, lapse, memory, rate, share
from .page import Item, Visit, frame, item

_WELL = frozenset({NodeState.RUNNING})
_BETWEEN = frozenset({NodeState.STARTING, NodeState.STANDBY, NodeState.WAITING, NodeState.STOPPING})
_QUIET = frozenset({"stopped", "unknown"})


class Nodes:
    """``/nodes``."""

    path, template, label = "/nodes", "nodes.html", "Nodes"

    async def tree(self, visit: Visit) -> Item:
        """A part of the nodes; with ``?match=`` of those whose name, host or state has that in it."""
        window = Window.read(visit.query, PAGE, of_nodes=True)
        match = visit.query.get("match", "")
        every = [line for line in node_lines(visit.snapshot) if is_meant(line, match)]
        start = bisect_right([_place(line.name) for line in every], _place(window.after)) if window.after else 0
        chosen = every[start : start + window.limit]
        more = start + len(chosen) < len(every)
        fields = {
            "match": match,
            "shown": _shown(every, start, len(chosen)),
            "first": window.link() if start else "",
            "next": window.link(chosen[-1].name) if more and chosen else "",
            "none": "No node has that in its name, host or state." if match and not every else "",
        }
        return frame(visit, fields, {"lines": [_line(line) for line in chosen]})


def is_meant(line: NodeLine, match: str) -> bool:
    """Whether ``match`` stands in the node's name, or in that of one of its hosts or states."""
    told = (line.name, *line.hosts, *(state for state, _ in line.states))
    return any(match.lower() in each.lower() for each in told)


def summary(line: NodeLine) -> str:
    """Its states in words: ``2 running, 1 lost``; ``running, not well`` if nothing but its problem says so."""
    told = _states(line)
    return f"{told}, not well" if line.problem and BAD.isdisjoint(state for state, _ in line.states) else told


def _states(line: NodeLine) -> str:
    if not line.copies:
        return "quarantined" if line.quarantine else "–"
    if len(line.copies) == 1:
        return line.copies[0].state
    return ", ".join(f"{number} {state}" for state, number in line.states)


def level(line: NodeLine) -> str:
    """How well it is: what chooses its colour."""
    return "trouble" if line.problem else worst([state for state, _ in line.states])


def worst(states: Sequence[str]) -> str:
    """The level of the worst of ``states``."""
    if any(state not in _WELL | _BETWEEN | _QUIET for state in states):
        return "trouble"
    if any(state in _BETWEEN for state in states):
        return "note"
    return "well" if any(state in _WELL for state in states) else "unknown"


def _place(name: str) -> tuple[bool, str]:
    return name == ROOT, name


def _shown(every: Sequence[NodeLine], start: int, shown: int) -> str:
    """Which of the nodes these are; "" where they are all."""
    if shown == len(every):
        return ""
    return f"nodes {start + 1:,} to {start + shown:,} of {len(every):,}"


def figures(line: NodeLine) -> dict[str, str]:
    """What a node does and uses."""
    used = line.memory
    return {
        "summary": summary(line),
        "sends": rate(line.sends),
        "receives": rate(line.receives),
        "p99": lapse(line.p99),
        "lost": count(line.lost),
        "failed": count(line.failed),
        "restarts": count(line.restarts),
        "memory": memory(used),
        "cpu": share(line.cpu) if used else "–",
    }


def _line(line: NodeLine) -> Item:
    page = f"/nodes/{quote(line.name, safe='')}"
    return item(
        line.name,
        level(line),
        {
            "name": line.name,
            "page": page,
            "hosts": ", ".join(line.hosts),
            "problem": short(line.problem),
            **figures(line),
        },
    )
