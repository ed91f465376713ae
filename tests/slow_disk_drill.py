"""Drills for a hive whose Redis has a disk that can be slowed down, which `hm drill` can do to no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hivemind.bus.endpoint import Endpoint
from hivemind.bus.facts import facts_of
from hivemind.bus.server_info import info_in
from hivemind.data.checkup import Level, Needs, findings
from hivemind.drills.choice import Chosen
from hivemind.drills.drill import opened
from hivemind.drills.faults import Fault, MakeFault, Scene
from hivemind.drills.kills import KillRedis
from hivemind.drills.limits import SECOND_TIER, UNTOLD, Limits
from hivemind.supervisor.engine import Engine

from .disk_kit import SlowDisk

SLOW = 1.5  #: seconds that the disk takes for each write that is asked for


class SlowedDisk(Fault):
    """The disk is slow for a while; whoever asks what is the matter is told."""

    name = "slow disk"
    lasts = 8.0
    limits = Limits(4.0, 2.0, from_end=True)

    def __init__(self, scene: Scene, disk: SlowDisk) -> None:
        super().__init__(scene, "disk")
        self.disk = disk

    async def inject(self) -> None:
        """Slow it down."""
        self.disk.takes(SLOW)

    async def happened(self) -> bool:
        """Whether Redis waits for it."""
        said = info_in(await self.site.bus.commands.execute("INFO", "persistence"))
        return said["aof_pending_bio_fsync"] != "0"

    async def noticed(self) -> bool:
        """Whether `hm doctor` would name it."""
        (facts,) = await facts_of(Endpoint.parse(self.site.url), self.site.settings.name)
        return any(one.subject == "its disk" and one.level is Level.YELLOW for one in findings([facts], Needs()))

    async def heal(self) -> None:
        """Let it be as fast as it is."""
        self.disk.takes(0.0)


class KilledWithSlowDisk(KillRedis):
    """Redis is killed while its disk is slow."""

    name = "kill slow redis"
    limits = Limits(1.0, 3.0, SECOND_TIER, SECOND_TIER + UNTOLD, from_end=True)

    def __init__(self, scene: Scene, disk: SlowDisk) -> None:
        super().__init__(scene, "redis")
        self.slowed = SlowedDisk(scene, disk)

    async def prepare(self) -> None:
        """Find it, and slow its disk down."""
        await super().prepare()
        await self.slowed.inject()
        await asyncio.sleep(1.5 * SLOW)  # in the middle of a write: what was confirmed since is not on the disk

    async def heal(self) -> None:
        """Let the disk be as fast as it is."""
        await self.slowed.heal()


@dataclass(frozen=True, slots=True)
class Made(Chosen):
    """A fault of ours."""

    fault: MakeFault

    def make(self, scene: Scene) -> Fault:
        return self.fault(scene, self.target)


def slow_disk_drills(engine: Engine, disk: SlowDisk) -> Iterator[dict[str, Any]]:
    """The reports of both."""
    for fault in (SlowedDisk, KilledWithSlowDisk):
        yield asyncio.run(_drilled(engine, Made("slow", "disk", lambda scene, _, fault=fault: fault(scene, disk))))  # type: ignore[misc]


async def _drilled(engine: Engine, chosen: Chosen) -> dict[str, Any]:
    async with opened(engine, lambda _: None) as drills:
        return (await drills.run(chosen)).to_json()
