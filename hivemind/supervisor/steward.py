"""hived's part in durable delivery: a group whose node the configuration declares stays, whether that runs or not.

What nobody declares and nobody has seen for GROUP_RETIRE retires, and hived looks after that where no node does.
"""

from __future__ import annotations

import asyncio
import logging

from ..bus.bus import Bus
from ..data.caretaker import Caretaker, Terms
from ..data.kept import Kept
from ..tolerance import tolerated
from .engine import Engine
from .plan import Plan, load

log = logging.getLogger("hived")

SEE = 10.0  #: seconds between two times that groups are said to be declared


class Steward:
    """Says of the groups of declared nodes that they are to be there. ``caretaker`` looks after the others."""

    def __init__(self, engine: Engine, bus: Bus) -> None:
        self._engine = engine
        self._kept = Kept(bus.streams)
        self.caretaker = Caretaker(bus.streams, Terms(engine.settings.constants.GROUP_RETIRE))

    async def run(self) -> None:
        """Say so for ever."""
        while True:
            with tolerated(log, "groups of declared nodes"):
                await self._kept.see(declared(await asyncio.to_thread(load, self._engine.paths)))
            await asyncio.sleep(SEE)


def declared(plan: Plan) -> set[str]:
    """The nodes that a configuration declares: those that run, those that were stopped by hand, and broken ones."""
    programs = (*plan.programs, *plan.stopped)
    members = {member for program in programs for member in program.members}
    return {program.node for program in programs} | {problem.node for problem in plan.problems} | members
