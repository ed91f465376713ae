"""Processes on the bus for tests: each with a link of its own, all on this event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from hivemind.bus.bus import Bus, BusOptions
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.inbox import Inbox, InboxLimits
from hivemind.bus.outgoing import OutboxOptions
from hivemind.bus.receiving import LiveSubscription
from hivemind.message import envelope_of
from hivemind.states import LinkState

from .waiting import eventually_async

_lives = itertools.count(int(time.time() * 1000))


@contextlib.asynccontextmanager
async def on_bus(
    url: str, instance: str = "a.0", hive: str = "t", *, outbox: OutboxOptions | None = None, up: bool = True
) -> AsyncIterator[Bus]:
    """One process on the bus, in a new life; with ``up`` it is connected."""
    async with Bus(Endpoint.parse(url), hive, instance, BusOptions(outbox=outbox or OutboxOptions())) as bus:
        bus.identify(instance, int(await bus.now()) + 1 if up else next(_lives))
        if up:
            await are_up(bus)
        yield bus


async def are_up(*buses: Bus, within: float = 5.0) -> None:
    """Return when all links of ``buses`` are up."""
    async with asyncio.timeout(within):
        for bus in buses:
            await bus.outbox.link.wait(LinkState.UP)
            await bus.live.link.wait(LinkState.UP)


async def until(check: Callable[[], Awaitable[object]], within: float = 5.0) -> None:
    """Return when what ``check`` gives, awaited, is true."""
    await eventually_async(cast("Callable[[], bool]", check), within)


async def passes(seconds: float) -> None:
    """Let time pass, where time itself is what is tested."""
    begun = time.monotonic()
    await eventually_async(lambda: time.monotonic() - begun >= seconds, seconds + 5.0)


class Collector:
    """A subscription whose one worker keeps (sender, sequence, payload) of what it handles."""

    def __init__(
        self,
        pattern: str,
        *,
        limits: InboxLimits | None = None,
        raw: bool = False,
        each: Callable[[], Awaitable[object]] | None = None,
        since: str | int = "new",
    ) -> None:
        self.subscription = LiveSubscription(pattern, limits=limits, raw=raw, since=since)
        self.handled: list[tuple[str, str, int, Any]] = []
        self.each = each
        self._task: asyncio.Task[None] | None = None

    async def join(self, bus: Bus) -> Collector:
        """Subscribe and begin to handle."""
        self._task = asyncio.create_task(self._work(self.subscription.inbox))
        await bus.subscribe(self.subscription)
        return self

    async def _work(self, inbox: Inbox) -> None:
        while await inbox.wait():
            turn = time.perf_counter() + 0.005
            while (entry := inbox.take()) is not None:
                topic, payload, source, _ = entry
                envelope = envelope_of(source)
                self.handled.append((topic, envelope["n"], envelope["s"], payload))
                if self.each is not None:
                    await self.each()
                if time.perf_counter() > turn:
                    await asyncio.sleep(0)
                    turn = time.perf_counter() + 0.005

    @property
    def payloads(self) -> list[Any]:
        """What was handled, in order."""
        return [payload for *_, payload in self.handled]

    @property
    def sequences(self) -> list[int]:
        """The sequence numbers of what was handled, in order."""
        return [sequence for _, _, sequence, _ in self.handled]

    @property
    def accounted(self) -> int:
        """Handled, missed and dropped: what a flush of the only sender has to make equal to what it sent."""
        return len(self.handled) + self.subscription.ledger.missed + self.subscription.inbox.dropped

    async def has(self, count: int, within: float = 5.0) -> list[Any]:
        """Return the payloads when there are ``count``."""
        await eventually_async(lambda: len(self.handled) >= count, within)
        return self.payloads

    async def hears(self, sequence: int, within: float = 5.0) -> None:
        """Return when the message handled last has this number."""
        await eventually_async(lambda: self.sequences[-1:] == [sequence], within)


@contextlib.asynccontextmanager
async def pair(url: str, sender_url: str = "") -> AsyncIterator[tuple[Bus, Bus, Collector]]:
    """A sender, a receiver, and what the receiver's subscription to ``x`` handles; one message has passed."""
    async with on_bus(url, "bruce.0") as bruce, on_bus(sender_url or url, "alfred.0") as alfred:
        got = await Collector("x").join(bruce)
        alfred.send("x", "first")
        await got.has(1)
        await bruce.live.confirmed()  # to the sender's beats, too
        yield alfred, bruce, got


async def flows(sender: Bus, got: Collector, within: float) -> float:
    """Return after how many seconds a message sent now was handled."""
    begun = time.monotonic()
    mark = f"mark {begun}"
    sender.send("x", mark)
    await eventually_async(lambda: mark in got.payloads[-20:], within)
    return time.monotonic() - begun


def is_in_order(got: Collector) -> bool:
    return got.sequences == sorted(set(got.sequences))
