"""Kept topics between processes on the bus: who sends them, and who receives them live over a link that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

from hivemind.bus.bus import Bus
from hivemind.cancelling import end
from hivemind.data.kept import Kept
from hivemind.data.kept_watch import KeptWatch
from hivemind.states import LinkState

from .bus_kit import Collector, on_bus, passes
from .proxy import Mode, Proxy
from .servers import RedisServer
from .waiting import eventually_async


async def keep(bus: Bus, *topics: str) -> Bus:
    """Let a process keep what it sends on ``topics``, as a node does with its services."""
    kept = Kept(bus.streams)
    for topic in topics:
        await kept.announce(topic)
        bus.keep(topic)
    return bus


@contextlib.asynccontextmanager
async def keeper(url: str, instance: str = "alfred.0", *topics: str, hive: str = "t") -> AsyncIterator[Bus]:
    """A process that keeps what it sends on ``topics``."""
    async with on_bus(url, instance, hive) as bus:
        yield await keep(bus, *topics)


class Listener:
    """A process that receives over a proxy, of which its live link can be cut."""

    def __init__(self, bus: Bus, proxy: Proxy) -> None:
        self.bus, self.proxy = bus, proxy

    async def collect(self, pattern: str, since: str | int = "new") -> Collector:
        """Subscribe and handle what comes."""
        return await Collector(pattern, since=since).join(self.bus)

    async def cut(self) -> None:
        """Cut its link, and let none be made until ``mend``."""
        self.proxy.set(Mode.RESET)
        await eventually_async(lambda: not self.bus.live.link.is_up)

    async def mend(self) -> None:
        """Let it be made again, and wait for that."""
        self.proxy.set(Mode.PASS)
        await self.bus.live.link.wait(LinkState.UP)


@contextlib.asynccontextmanager
async def listener(server: RedisServer, instance: str = "bruce.0", hive: str = "t") -> AsyncIterator[Listener]:
    """Somebody who receives live, and reads what is kept."""
    async with Proxy(server.socket) as proxy, on_bus(f"redis://127.0.0.1:{proxy.port}", instance, hive) as bus:
        watch = KeptWatch(bus)
        watch.start()
        try:
            yield Listener(bus, proxy)
        finally:
            await watch.stop()


async def send(bus: Bus, topic: str, payloads: Sequence[object]) -> None:
    """Send, and return when Redis has them all; nobody is told what the last was."""
    for payload in payloads:
        bus.send(topic, payload)
    await eventually_async(lambda: bus.waiting == 0, 10.0)


def counts(got: Collector) -> dict[str, int]:
    """What its ledger counted, but for zeros."""
    ledger = got.subscription.ledger
    every = {name: getattr(ledger, name) for name in ("filled", "missed", "duplicate", "stale")}
    return {name: count for name, count in every.items() if count}


@contextlib.asynccontextmanager
async def sending(bus: Bus, topic: str, rate: float) -> AsyncIterator[None]:
    """Somebody sends ``rate`` messages a second meanwhile."""

    async def work() -> None:
        begun, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - begun) * rate)
            for number in range(sent, due):
                bus.send(topic, number)
            sent = max(sent, due)
            await bus.drain()
            await passes(0.005)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        await end(task)


async def last_of(bus: Bus, topic: str) -> int:
    """The number of the last message that a process has sent on a topic that it keeps; Redis has it."""
    await bus.flush()
    assert bus.keeping is not None
    (number,) = [last[topic] for last in bus.keeping.spool.last_sequences() if topic in last]
    return number
