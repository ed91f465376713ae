"""Who is hit by a signal: how they are found, and when they are there again, whatever the signal was."""

from __future__ import annotations

from ..identity import ProcessIdentity
from ..supervisor.processes import ROOT
from ..supervisor.render import LISTENER
from .faults import Scene, Signalled
from .probe import BETA, PREFIX
from .targets import meant

VICTIM = f"{PREFIX}-{BETA}.0"  #: the probe that is hit


def processes_of(scene: Scene, target: str) -> dict[str, ProcessIdentity]:
    """The processes of the instances that are meant. Raises SupervisorError."""
    site = scene.site
    found = meant(target, site.programs(), list(site.seen.values()))
    return {one.instance: one.about.process for one in found if one.about.process is not None}


class OfNodes(Signalled):
    """Instances."""

    async def prepare(self) -> None:
        """Find them."""
        self.remember(processes_of(self.scene, self.target))


class OfRoot(OfNodes):
    """The root."""

    async def prepare(self) -> None:
        """Find it."""
        self.target = ROOT
        await super().prepare()


class OfProbe(Signalled):
    """A probe with durable work in hand."""

    async def prepare(self) -> None:
        """Find it."""
        self.target = "probe"
        member = self.scene.crew.members[VICTIM]
        self.remember({VICTIM: member.identity})
        self.harmed = [member.life]


class OfHived(Signalled):
    """hived's own process, the listener."""

    async def prepare(self) -> None:
        """Find it."""
        self.target = "hived"
        self.victims = {LISTENER: await self.site.hived()}

    async def is_back(self) -> bool:
        """Whether it answers."""
        return await self.site.hived_answers()


class OfSupervisord(Signalled):
    """supervisord."""

    async def prepare(self) -> None:
        """Find it."""
        self.target = "supervisord"
        self.victims = {"supervisord": self.site.living_supervisord()}

    async def is_back(self) -> bool:
        """Whether it answers, and has every program."""
        return await self.site.has_all_programs()


class OfRedis(Signalled):
    """The hive's own Redis."""

    async def prepare(self) -> None:
        """Find it."""
        self.target = "redis"
        self.victims = {"redis": self.site.redis()}
        self.gaps = self.site.bus.outbox.link.gaps

    async def noticed(self) -> bool:
        """Whether a connection was lost, or given up."""
        return self.site.bus.outbox.link.gaps > self.gaps
