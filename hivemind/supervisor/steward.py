"""hived's part in durable delivery: a group whose node the configuration declares stays, whether that runs or not.

What nobody declares and nobody has seen for GROUP_RETIRE retires, and hived looks after that where no node does. So
does what a node that runs does not read any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ..bus.bus import Bus
from ..data.caretaker import Caretaker, Terms
from ..data.kept import Kept
from ..data.layout import LAYOUT
from ..data.records import Instance
from ..states import NodeState
from ..tolerance import tolerated
from .engine import Engine
from .plan import Plan, load

log = logging.getLogger("hived")

SEE = 10.0  #: seconds between two times that groups are said to be declared


class Steward:
    """Says of the groups of declared nodes that they are to be there. ``caretaker`` looks after the others;
    ``instances`` gives what runs.
    """

    def __init__(self, engine: Engine, bus: Bus, instances: Callable[[], Sequence[Instance]]) -> None:
        self._engine, self._bus, self._instances = engine, bus, instances
        self._kept = Kept(bus.streams)
        self.caretaker = Caretaker(bus.streams, Terms(engine.settings.constants.GROUP_RETIRE))

    async def run(self) -> None:
        """Say so for ever."""
        while True:
            with tolerated(log, "groups of declared nodes"):
                nodes = declared(await asyncio.to_thread(load, self._engine.paths))
                await self._kept.see(nodes, reads(self._instances()))
                await self._bus.commands.execute(
                    "SET", self._bus.names.layout(), LAYOUT, "NX"
                )  # nodes may not be able to
            await asyncio.sleep(SEE)


def declared(plan: Plan) -> set[str]:
    """The nodes that a configuration declares: those that run, those that were stopped by hand, broken ones, and those
    of other hosts.
    """
    programs = (*plan.programs, *plan.stopped, *plan.elsewhere)
    members = {member for program in programs for member in program.members}
    return {program.node for program in programs} | {problem.node for problem in plan.problems} | members


def reads(instances: Sequence[Instance]) -> dict[str, set[tuple[str, str]]]:
    """Group and pattern of all that is read durably, of each node whose copies all run."""
    found: dict[str, set[tuple[str, str]]] = {}
    unknown = {node for one in instances if one.state != NodeState.RUNNING for node in one.nodes}
    for one in instances:
        for node in one.nodes:
            read = found.setdefault(node, set())
            read |= {(each.group, each.pattern) for each in one.stats.subscriptions if each.group}
    return {node: read for node, read in found.items() if node not in unknown}
