"""The live bus when things break: Redis killed, frozen, away, slow, refusing; links cut. On every server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hivemind.bus.bus import Bus
from hivemind.message import envelope_of

from .bus_kit import Collector, are_up, flows, is_in_order, on_bus, pair, passes, until
from .conftest import MakeServer
from .proxy import Mode, Proxy
from .servers import RedisServer
from .waiting import eventually_async

pytestmark = [pytest.mark.alone, pytest.mark.every_server, pytest.mark.timeout(90)]


# -- Redis itself


@pytest.mark.every_loop
@pytest.mark.parametrize("keep_data", [True, False])
@pytest.mark.parametrize("kill", [True, False])
async def test_redis_restarted_with_or_without_its_data(own_server: RedisServer, keep_data: bool, kill: bool) -> None:
    async with pair(own_server.url) as (alfred, bruce, got):
        await asyncio.to_thread(own_server.restart, keep_data=keep_data, kill=kill)
        assert await flows(alfred, got, within=2.0) < 1.5
        await are_up(alfred, bruce)
        assert (bruce.live.link.gaps, got.subscription.ledger.duplicate, is_in_order(got)) == (1, 0, True)


# -- links cut


@pytest.mark.every_loop
async def test_links_killed_again_and_again_while_sending(own_server: RedisServer) -> None:
    async with pair(own_server.url) as (alfred, bruce, got):
        for number in range(6000):
            alfred.send("x", number)
            if number % 20 == 0:
                await alfred.drain()
            if number % 500 == 250:
                kind = "pubsub" if number % 1000 == 250 else "normal"
                own_server.command("CLIENT", "KILL", "TYPE", kind)
        await alfred.flush()
        await are_up(alfred, bruce)
        await bruce.live.confirmed()
        await adds_up(alfred, got, 6001)
        assert bruce.live.link.gaps > 0
        assert alfred.outbox.link.gaps > 0
        assert is_in_order(got)


async def adds_up(sender: Bus, got: Collector, sent: int) -> None:
    """The sender says again and again what was last, as its heart does with every beat: then all is accounted for."""

    async def is_told() -> bool:
        await sender.tell_last()
        await passes(0.02)
        return got.accounted == sent

    await until(is_told, 10.0)


async def test_answers_lost_on_the_way_make_no_duplicates(own_server: RedisServer) -> None:
    async with (
        Proxy(own_server.socket) as proxy,
        pair(own_server.url, f"redis://127.0.0.1:{proxy.port}") as (alfred, _, got),
    ):
        for number in range(5):
            proxy.set(Mode.EAT_REPLIES)
            for _ in range(100):
                alfred.send("x", number)
            await got.has(1 + 100 * (number + 1))
            proxy.set(Mode.PASS)
            proxy.cut()
            await alfred.flush()
        await eventually_async(lambda: got.subscription.ledger.duplicate == 500)
        assert got.sequences == list(range(1, 502))


# -- slow subscribers


@pytest.mark.every_loop
async def test_a_subscriber_that_redis_cuts_off_counts_all_that_it_lost(make_server: MakeServer) -> None:
    server = make_server(lines=("client-output-buffer-limit pubsub 64kb 32kb 1",))
    async with pair(server.url) as (alfred, bruce, got):
        got.each = lambda: _busy(0.0002)
        sent, begun = 1, time.monotonic()
        while bruce.live.link.gaps < 3 and time.monotonic() - begun < 20:
            for _ in range(200):
                alfred.send("x", "y" * 2000)
                sent += 1
            await alfred.drain()
            if sent % 4000 < 200:
                bruce.live.link.pause_reading()  # as a process does that is kept from reading
                await passes(0.05)
                bruce.live.link.resume_reading()
        assert bruce.live.link.gaps >= 3
        await are_up(alfred, bruce)
        await alfred.flush()
        await adds_up(alfred, got, sent)
        ledger = got.subscription.ledger
        assert ledger.missed > 0
        assert len(got.handled) + ledger.missed + got.subscription.inbox.dropped == sent
        assert (ledger.duplicate, is_in_order(got)) == (0, True)


async def _busy(seconds: float) -> None:
    spin(seconds)


def spin(seconds: float) -> None:
    """Keep this thread's processor busy; what other processes take of it does not count."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Threaded(Collector):
    """Handles on a thread, as a node does with a ``def`` handler."""

    def __init__(self, pattern: str, seconds: float) -> None:
        super().__init__(pattern)
        self.seconds = seconds
        self.thread = threading.Thread(target=self._run, daemon=True)

    async def join(self, bus: Bus) -> Collector:
        await bus.subscribe(self.subscription)
        self.thread.start()
        return self

    def _run(self) -> None:
        while batch := self.subscription.inbox.take_many():
            for topic, payload, source, _ in batch:
                spin(self.seconds)
                envelope = envelope_of(source)
                self.handled.append((topic, envelope["n"], envelope["s"], payload))


@contextlib.asynccontextmanager
async def load(server: RedisServer, rate: float) -> AsyncIterator[None]:
    """Another process that publishes on topic ``load`` at ``rate`` messages a second."""
    words = ("-m", "tests.publisher", str(server.socket), "hm:t:t:load", str(int(rate)), str(rate), "30")
    process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=Path(__file__).parents[1])
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def handled_per_second(got: Collector, seconds: float) -> float:
    """Count three times for ``seconds``, from when messages come, and divide by the seconds of processor that we really
    had: the best of them, for who else works on these cores slows us meanwhile.
    """
    await got.has(len(got.handled) + 100)
    found: list[float] = []
    for _ in range(3):
        before, begun = len(got.handled), time.process_time()
        await passes(seconds)
        found.append((len(got.handled) - before) / (time.process_time() - begun))
    return max(found)


@pytest.mark.parametrize("handler", ["async", "thread"])
async def test_at_twice_its_rate_a_handler_still_does_what_it_can(own_server: RedisServer, handler: str) -> None:
    cost = 200e-6
    async with on_bus(own_server.url, "bruce.0") as bruce:
        got = Threaded("load", cost) if handler == "thread" else Collector("load", each=lambda: _busy(cost))
        await got.join(bruce)
        rates: list[float] = []
        for rate in (0.5 / cost, 0.9 / cost, 2.0 / cost):
            async with load(own_server, rate):
                rates.append(await handled_per_second(got, 0.5))
        got.subscription.inbox.abandon()
        assert rates[-1] >= 0.8 * max(rates)
        assert bruce.live.link.gaps == 0
        bruce.live.remove(got.subscription)
