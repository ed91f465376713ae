"""Instances in a hive that resolves its patterns: registered, but without a node around them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence

from hivemind.bus.bus import Bus
from hivemind.bus.outgoing import OutboxOptions
from hivemind.data.records import About, Stats
from hivemind.data.registry import Registry
from hivemind.data.resolution import Resolution

from .bus_kit import on_bus
from .servers import RedisServer

LEASE = 60.0


class Resident:
    """One registered instance: its bus, and both halves of resolved patterns."""

    def __init__(self, bus: Bus, hive: str) -> None:
        self.bus, self.hive = bus, hive
        self.registry = Registry(bus.commands, bus.functions, bus.names, "resolved")
        self.resolution = Resolution(bus)
        self.about = About("node", "here", 1, time.time(), LEASE)

    async def join(self, topics: Sequence[str]) -> None:
        """Register, and begin."""
        self.bus.identify(self.bus.instance, await self.registry.register(self.bus.instance, self.about, Stats()))
        self.resolution.start(topics)

    async def join_again(self) -> None:
        """Register the same life once more, as a heart does when Redis has lost its data."""
        await self.registry.register_again(self.bus.instance, self.bus.incarnation, self.about, Stats())
        self.resolution.again()

    async def leave(self) -> None:
        """Say goodbye."""
        await self.registry.deregister(self.bus.instance, self.bus.incarnation)


@contextlib.asynccontextmanager
async def resident(
    url: str, hive: str, instance: str, topics: Sequence[str] = (), *, outbox: OutboxOptions | None = None
) -> AsyncIterator[Resident]:
    """An instance of ``hive`` that sends on ``topics``, and on others as it likes."""
    async with on_bus(url, instance, hive, outbox=outbox) as bus:
        made = Resident(bus, hive)
        await made.join(topics)
        yield made
        await made.resolution.stop()


def patterns_in(server: RedisServer) -> int:
    """How many patterns Redis walks at every PUBLISH."""
    return int(server.command("PUBSUB", "NUMPAT"))


def stored(server: RedisServer, hive: str, what: str) -> dict[str, str]:
    """One of the hashes of the directory."""
    flat = server.command("HGETALL", f"hm:{{{hive}}}:{what}")
    return dict(zip(flat[::2], flat[1::2], strict=True))
