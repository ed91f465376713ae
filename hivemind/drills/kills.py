"""Processes that are killed."""

from __future__ import annotations

import asyncio
import signal

from ..bus.embedded import Embedded
from ..identity import ProcessIdentity
from ..supervisor.keeper import kill
from ..supervisor.processes import ROOT
from ..supervisor.render import LISTENER
from .faults import Scene, Signalled
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
        self.victims = {LISTENER: await self.site.hived()}

    async def inject(self) -> None:
        """Kill it."""
        kill(self.victims[LISTENER], signal.SIGKILL)

    async def noticed(self) -> bool:
        """Whether supervisord has started another."""
        found = await self.site.supervised(LISTENER)
        return found is not None and found != self.victims[LISTENER]

    async def is_back(self) -> bool:
        """Whether it answers."""
        return await self.site.hived_answers()


class KillSupervisord(Signalled):
    """supervisord is killed; the nodes go on, and another adopts them."""

    name = "kill supervisord"

    async def prepare(self) -> None:
        """Find it."""
        self.target = "supervisord"
        self.victims = {"supervisord": self.site.living_supervisord()}
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
        return await self.site.has_all_programs()


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
