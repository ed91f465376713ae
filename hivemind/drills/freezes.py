"""Processes that stand still for a while, or most of the time."""

from __future__ import annotations

import asyncio
import math
import signal
import time

import psutil

from ..cancelling import end
from ..identity import ProcessIdentity
from ..supervisor.keeper import kill
from .faults import Scene, Signalled
from .limits import LOOK
from .victims import VICTIM, OfHived, OfNodes, OfProbe, OfRedis, OfRoot, OfSupervisord

STANDS, GOES = 0.2, 0.05  #: seconds for which a slow process stands still, and goes on


class Frozen(Signalled):
    """Processes that are stopped by a signal."""

    async def inject(self) -> None:
        """Stop them; the healer lets them go on, if we cannot."""
        for one in self.victims.values():
            await self.scene.healer.thaw(one)
        for one in self.victims.values():
            kill(one, signal.SIGSTOP)

    async def happened(self) -> bool:
        """Whether they stand still, or have been killed for it."""
        return all(_stands_still(one) for one in self.victims.values())

    async def heal(self) -> None:
        """Let go on who has not been killed."""
        for one in self.victims.values():
            kill(one, signal.SIGCONT)


class FreezeNode(OfNodes, Frozen):
    """Instances are frozen; hived finds that they hang, kills them, and starts them again."""

    name = "freeze node"

    async def prepare(self) -> None:
        """Find them."""
        await super().prepare()
        self.is_said = self.site.hived_says()

    async def noticed(self) -> bool:
        """Whether hived has said of one that it hangs, or has killed it."""
        hung = any(self.is_said(f"(process {one.pid}) has not moved for a lease") for one in self.victims.values())
        return hung or await Signalled.happened(self)

    async def is_over(self) -> bool:
        """Whether none of them stands still any more."""
        return await Signalled.happened(self)


class FreezeRoot(OfRoot, FreezeNode):
    """The root is frozen; hived finds that it hangs, kills it, and starts another."""

    name = "freeze root"


class FrozenForALease(Frozen):
    """Who watches over others stands still for longer than a lease: nobody is watched over meanwhile."""

    def __init__(self, scene: Scene, target: str) -> None:
        super().__init__(scene, target)
        self.lasts = self.site.settings.constants.LEASE + LOOK


class FreezeHived(OfHived, FrozenForALease):
    """hived's own process, the listener, stands still."""

    name = "freeze hived"

    async def noticed(self) -> bool:
        """Whether who asks it something is told that nobody answers."""
        return not await self.site.hived_answers()


class FreezeSupervisord(OfSupervisord, FrozenForALease):
    """supervisord stands still."""

    name = "freeze supervisord"

    async def noticed(self) -> bool:
        """Whether who asks it something is told that it does not answer."""
        return not await self.site.has_all_programs()


class FreezeProbe(OfProbe, Frozen):
    """A probe is frozen until its copy has taken over what it held; then it goes on."""

    name = "freeze probe"

    async def prepare(self) -> None:
        """Find it."""
        await super().prepare()
        self.lasts = self.site.settings.constants.LEASE + LOOK + 1.0
        self.began = math.inf

    async def inject(self) -> None:
        """Stop it."""
        await super().inject()
        self.began = time.monotonic()

    async def noticed(self) -> bool:
        """Whether its lease has ended, and its copy has handled what was safe when it was frozen."""
        books = self.scene.crew.books
        return self.is_known() and not any(books.safe[one] <= self.began for one in books.lost)

    async def is_back(self) -> bool:
        """Whether it runs, still in the same life."""
        return bool(self.site.lives([VICTIM]))


class FreezeRedis(OfRedis, Frozen):
    """The hive's own Redis stands still for a while."""

    name = "freeze redis"
    lasts = 8.0


class SlowRedis(FreezeRedis):
    """The hive's own Redis stands still four fifths of the time."""

    name = "slow redis"

    def __init__(self, scene: Scene, target: str) -> None:
        super().__init__(scene, target)
        self.pulsing: asyncio.Task[None] | None = None
        self.began, self.stood = math.inf, 0

    async def inject(self) -> None:
        """Begin; the healer lets it go on, if we cannot."""
        for one in self.victims.values():
            await self.scene.healer.thaw(one)
        self.began = time.monotonic()
        self.pulsing = asyncio.create_task(self._pulse())

    async def _pulse(self) -> None:
        while True:
            for number, seconds in ((signal.SIGSTOP, STANDS), (signal.SIGCONT, GOES)):
                for one in self.victims.values():
                    kill(one, number)
                await asyncio.sleep(seconds)
                self.stood += number == signal.SIGSTOP and all(map(_stands_still, self.victims.values()))

    async def happened(self) -> bool:
        """Whether it was seen to stand still more than once."""
        return self.stood > 1

    async def noticed(self) -> bool:
        """Whether a live message was under way for longer than it takes otherwise."""
        return any(at > self.began for at in self.scene.crew.books.slow)

    async def heal(self) -> None:
        """Stop that."""
        await end(self.pulsing)
        await super().heal()


def _stands_still(one: ProcessIdentity) -> bool:
    try:
        return not one.is_alive() or psutil.Process(one.pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return True
