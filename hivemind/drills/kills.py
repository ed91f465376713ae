"""Processes that are killed or frozen."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time

import psutil

from ..bus.embedded import Embedded
from ..errors import RedisError, SupervisorError
from ..identity import ProcessIdentity
from ..supervisor.actions import Request, Verb
from ..supervisor.control import ask
from ..supervisor.keeper import kill
from ..supervisor.processes import ROOT
from ..supervisor.render import LISTENER
from .faults import Scene, Signalled
from .limits import LOOK
from .probe import BETA, PREFIX
from .site import said_in, size
from .targets import meant

VICTIM = f"{PREFIX}-{BETA}.0"  #: the probe that is hit


def processes_of(scene: Scene, target: str) -> dict[str, ProcessIdentity]:
    """The processes of the instances that are meant. Raises SupervisorError."""
    site = scene.site
    found = meant(target, site.programs(), list(site.seen.values()))
    return {one.instance: one.about.process for one in found if one.about.process is not None}


class KillNode(Signalled):
    """Instances are killed; hived starts them again."""

    name = "kill node"

    async def prepare(self) -> None:
        """Find them."""
        self.remember(processes_of(self.scene, self.target))

    async def inject(self) -> None:
        """Kill them."""
        for one in self.victims.values():
            kill(one, signal.SIGKILL)

    async def noticed(self) -> bool:
        """Whether hived has said so, or they are there again."""
        return self.is_known()


class KillRoot(KillNode):
    """The root is killed."""

    name = "kill root"

    async def prepare(self) -> None:
        """Find it."""
        self.target = ROOT
        await super().prepare()


class KillProbe(Signalled):
    """A probe is killed with durable work in hand, which its copy takes over."""

    name = "kill probe"

    async def prepare(self) -> None:
        """Find it."""
        self.target = "probe"
        member = self.scene.crew.members[VICTIM]
        self.remember({VICTIM: member.identity})
        self.harmed = [member.life]

    async def inject(self) -> None:
        """Kill it."""
        self.scene.crew.kill(VICTIM)

    async def noticed(self) -> bool:
        """Whether somebody has said that it ended."""
        return self.is_known()

    async def is_back(self) -> bool:
        """Whether all that was safe when it died has been handled."""
        books, injected = self.scene.crew.books, self.scene.crew.members[VICTIM].ended
        return not any(books.safe[one] <= injected for one in books.lost)


class KillHived(Signalled):
    """hived's own process, the listener, is killed."""

    name = "kill hived"

    async def prepare(self) -> None:
        """Find it."""
        self.target = "hived"
        found = await self.site.supervised(LISTENER)
        if found is None:
            raise SupervisorError("hived does not run this hive here: `hived start`")
        self.victims = {LISTENER: found}

    async def inject(self) -> None:
        """Kill it."""
        kill(self.victims[LISTENER], signal.SIGKILL)

    async def noticed(self) -> bool:
        """Whether supervisord has started another."""
        found = await self.site.supervised(LISTENER)
        return found is not None and found != self.victims[LISTENER]

    async def is_back(self) -> bool:
        """Whether it answers."""
        request = Request(Verb.FIND, ("@all",))
        try:
            return bool(await ask(self.site.bus.endpoint, self.site.settings.name, request, 1.0))
        except RedisError:
            return False


class KillSupervisord(Signalled):
    """supervisord is killed; the nodes go on, and another adopts them."""

    name = "kill supervisord"

    async def prepare(self) -> None:
        """Find it."""
        self.target = "supervisord"
        found = self.site.supervisord()
        if found is None:
            raise SupervisorError("hived does not run this hive here: `hived start`")
        self.victims = {"supervisord": found}
        log = self.site.settings.log_file("hived")
        self.is_said = said_in(log, size(log))

    async def inject(self) -> None:
        """Kill it."""
        kill(self.victims["supervisord"], signal.SIGKILL)

    async def noticed(self) -> bool:
        """Whether hived has said so, or another is there."""
        return self.is_said("supervisord is gone") or self.site.supervisord() not in (None, self.victims["supervisord"])

    async def is_back(self) -> bool:
        """Whether it answers, and has every program."""
        try:
            programs = await asyncio.to_thread(self.site.engine.client(1.0).programs)
        except SupervisorError:
            return False
        there = {one.name for one in programs if one.pid}
        return {one.name for one in self.site.programs()} <= there


class KillRedis(Signalled):
    """The hive's own Redis is killed; hived starts it again, with what is on its disk."""

    name = "kill redis"
    harms_all = True

    async def prepare(self) -> None:
        """Find it."""
        self.target = "redis"
        self.victims = {"redis": self.site.redis()}
        self.gaps = self.site.bus.outbox.link.gaps

    async def inject(self) -> None:
        """Kill it."""
        kill(self.victims["redis"], signal.SIGKILL)

    async def noticed(self) -> bool:
        """Whether a connection was lost."""
        return self.site.bus.outbox.link.gaps > self.gaps

    async def is_over(self) -> bool:
        """Whether it answers again."""
        return await asyncio.to_thread(Embedded.of(self.site.settings).answers)

    async def is_back(self) -> bool:
        """Whether everybody is in the registry."""
        return self.site.is_readable


class Frozen(Signalled):
    """Processes that are stopped by a signal."""

    async def inject(self) -> None:
        """Stop them; the healer lets them go on, if we cannot."""
        for one in self.victims.values():
            await self.scene.healer.thaw(one)
        for one in self.victims.values():
            os.kill(one.pid, signal.SIGSTOP)

    async def happened(self) -> bool:
        """Whether they stand still, or have been killed for it."""
        return all(_stands_still(one) for one in self.victims.values())

    async def heal(self) -> None:
        """Let go on who has not been killed."""
        for one in self.victims.values():
            kill(one, signal.SIGCONT)


class FreezeNode(Frozen):
    """Instances are frozen; hived finds that they hang, kills them, and starts them again."""

    name = "freeze node"

    async def prepare(self) -> None:
        """Find them."""
        self.remember(processes_of(self.scene, self.target))
        log = self.site.settings.log_file("hived")
        self.is_said = said_in(log, size(log))

    async def noticed(self) -> bool:
        """Whether hived has said of one that it hangs, or has killed it."""
        hung = any(self.is_said(f"{name} (process {one.pid}) has not moved") for name, one in self.victims.items())
        return hung or await Signalled.happened(self)

    async def is_over(self) -> bool:
        """Whether none of them stands still any more."""
        return await Signalled.happened(self)


class FreezeProbe(Frozen):
    """A probe is frozen until its copy has taken over what it held; then it goes on."""

    name = "freeze probe"

    async def prepare(self) -> None:
        """Find it."""
        self.target = "probe"
        member = self.scene.crew.members[VICTIM]
        self.remember({VICTIM: member.identity})
        self.harmed = [member.life]
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


class FreezeRedis(Frozen):
    """The hive's own Redis stands still for a while."""

    name = "freeze redis"
    lasts = 8.0

    async def prepare(self) -> None:
        """Find it."""
        self.target = "redis"
        self.victims = {"redis": self.site.redis()}
        self.gaps = self.site.bus.outbox.link.gaps

    async def noticed(self) -> bool:
        """Whether a connection was given up."""
        return self.site.bus.outbox.link.gaps > self.gaps


def _stands_still(one: ProcessIdentity) -> bool:
    try:
        return not one.is_alive() or psutil.Process(one.pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return True
