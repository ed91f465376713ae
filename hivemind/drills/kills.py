"""Processes that are killed."""

from __future__ import annotations

import asyncio
import signal

from ..bus.embedded import Embedded
from ..supervisor.keeper import kill
from ..supervisor.render import LISTENER
from .faults import Signalled
from .victims import VICTIM, OfHived, OfNodes, OfProbe, OfRedis, OfRoot, OfSupervisord


class Killed(Signalled):
    """Processes that are killed by a signal."""

    async def inject(self) -> None:
        """Kill them."""
        for one in self.victims.values():
            kill(one, signal.SIGKILL)

    async def noticed(self) -> bool:
        """Whether somebody has said so, or they are there again."""
        return self.is_known()


class KillNode(OfNodes, Killed):
    """Instances are killed; hived starts them again."""

    name = "kill node"


class KillRoot(OfRoot, KillNode):
    """The root is killed."""

    name = "kill root"


class KillProbe(OfProbe, Killed):
    """A probe is killed with durable work in hand, which its copy takes over."""

    name = "kill probe"

    async def inject(self) -> None:
        """Kill it."""
        self.scene.crew.kill(VICTIM)

    async def is_back(self) -> bool:
        """Whether all that was safe when it died has been handled."""
        books, injected = self.scene.crew.books, self.scene.crew.members[VICTIM].ended
        return not any(books.safe[one] <= injected for one in books.lost)


class KillHived(OfHived, Killed):
    """hived's own process, the listener, is killed."""

    name = "kill hived"

    async def noticed(self) -> bool:
        """Whether supervisord has started another."""
        found = await self.site.supervised(LISTENER)
        return found is not None and found != self.victims[LISTENER]


class KillSupervisord(OfSupervisord, Killed):
    """supervisord is killed; the nodes go on, and another adopts them."""

    name = "kill supervisord"

    async def prepare(self) -> None:
        """Find it."""
        await super().prepare()
        self.is_said = self.site.hived_says()

    async def noticed(self) -> bool:
        """Whether hived has said so, or another is there."""
        return self.is_said("supervisord is gone") or self.site.supervisord() not in (None, self.victims["supervisord"])


class KillRedis(OfRedis, Killed):
    """The hive's own Redis is killed; hived starts it again, with what is on its disk."""

    name = "kill redis"
    harms_all = True

    async def is_over(self) -> bool:
        """Whether it answers again."""
        return await asyncio.to_thread(Embedded.of(self.site.settings).answers)

    async def is_back(self) -> bool:
        """Whether everybody is in the registry."""
        return self.site.is_readable
