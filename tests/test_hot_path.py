"""What one message costs in this process, against the least that it could cost: no clock on a wall, only ratios.

The least is what the bare loop of ``make bench`` does: orjson and hiredis, and nothing else. Each way is measured in
turn, in CPU time, and its best round counts: what else the machine does can only make a round worse. Where it does so
much that no round was a good one, there are more.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hiredis
import orjson
import pytest

from benchmarks.nobody import BATCH, Acknowledging, answer, appended, entries, feed, keeping_bus, linked_bus, pushes
from hivemind import Node, subscription
from hivemind.bell import Bell
from hivemind.bus.deliveries import Deliveries
from hivemind.bus.link import pack
from hivemind.bus.streams import Reader
from hivemind.bus.trials import Rules

from .waiting import eventually_async

pytestmark = [pytest.mark.alone, pytest.mark.timeout(60)]

MESSAGES, ROUNDS, TRIES = 4_000, 40, 5
#: how many times the least; a quarter more than what was measured
SEND, RECEIVE = 1.35, 2.45
APPEND, HANDLE = 1.5, 6.0
Way = Callable[[], Awaitable[None]]


class Sink(Node):
    """Handles everything."""

    @subscription("x-*")
    async def take(self, payload: Any) -> None:
        """As little as can be done."""


class DurableSink(Node):
    """Handles everything, durably."""

    @subscription("x-*", durable=True)
    async def take(self, payload: Any) -> None:
        """As little as can be done."""


def envelope(sequence: int) -> dict[str, Any]:
    return {"v": 1, "n": "a.0", "e": 1, "s": sequence, "t": time.time(), "d": {"i": sequence, "unit": "C"}}


@dataclass(frozen=True, slots=True)
class Found:
    """How many times the CPU time of the least ours takes, best round against best round, and in how many rounds."""

    times: float
    rounds: int


async def measured(ours: Way, least: Way, most: float, ready: Callable[[], None] = lambda: None) -> Found:
    """Measure, ``ready`` before each round of ours; again while it takes more than ``most`` times the least."""

    async def seconds(way: Way) -> float:
        began = time.process_time()
        await way()
        return time.process_time() - began

    mine, theirs = [], []
    for _ in range(TRIES):
        for _ in range(ROUNDS):
            ready()
            mine.append(await seconds(ours))
            theirs.append(await seconds(least))
        if min(mine) < most * min(theirs):
            break
    return Found(min(mine) / min(theirs), len(mine))


async def test_sending_costs_little_more_than_encoding() -> None:
    bus = linked_bus("a.0")
    outbox = bus.outbox

    async def ours() -> None:
        for start in range(0, MESSAGES, BATCH):
            for number in range(start, start + BATCH):
                bus.send("x-1", {"i": number, "unit": "C"})
            await asyncio.sleep(0)
            answer(bus)

    async def least() -> None:
        reader = hiredis.Reader()
        for start in range(0, MESSAGES, BATCH):
            numbers = range(start, start + BATCH)
            b"".join([pack("PUBLISH", "hm:t:t:x-1", orjson.dumps(envelope(number))) for number in numbers])
            reader.feed(b":1\r\n" * BATCH)
            while reader.gets() is not False:
                pass

    found = await measured(ours, least, SEND)
    assert outbox.waiting == 0
    assert outbox.sent == MESSAGES * found.rounds
    assert found.times < SEND


async def test_receiving_costs_little_more_than_decoding() -> None:
    bus, node = linked_bus("b.0"), Sink()
    node._hm.bind()
    (sink,) = node.bound_subscriptions
    bus.live.add(sink.live)
    sink.start()
    numbers, buffers = itertools.count(1), list[bytes]()

    def ready() -> None:
        buffers[:] = pushes("x-*", "x-1", [orjson.dumps(envelope(next(numbers))) for _ in range(MESSAGES)])

    async def ours() -> None:
        for buffer in buffers:
            feed(bus, buffer)
            await asyncio.sleep(0)
        await eventually_async(lambda: not len(sink.live.inbox))

    async def least() -> None:
        reader = hiredis.Reader()
        for buffer in buffers:
            reader.feed(buffer)
            while (item := reader.gets()) is not False:
                orjson.loads(item[3])["d"]

    found = await measured(ours, least, RECEIVE, ready)
    assert sink.handled == MESSAGES * found.rounds
    assert found.times < RECEIVE
    await sink.stopped(0.0)


async def test_durable_sending_costs_little_more_than_encoding() -> None:
    bus = keeping_bus("a.0", "x-1")

    async def ours() -> None:
        for start in range(0, MESSAGES, BATCH):
            for number in range(start, start + BATCH):
                bus.send("x-1", {"i": number, "unit": "C"})
            await asyncio.sleep(0)
            appended(bus)

    async def least() -> None:
        for start in range(0, MESSAGES, BATCH):
            numbers = range(start, start + BATCH)
            b"".join([pack("XADD", "hm:t:s:x-1", "*", "b", orjson.dumps(envelope(number))) for number in numbers])

    found = await measured(ours, least, APPEND)
    assert bus.waiting == 0
    assert found.times < APPEND


async def test_durable_handling_costs_little_more_than_decoding() -> None:
    node = DurableSink()
    node._hm.bind()
    (sink,) = node.bound_durables
    sink.start()
    streams, reader, usual = Acknowledging(), Reader("g", "b.0", 1), Rules()
    deliveries, fewer = Deliveries(streams, reader, lambda topic: usual, sink.hand), Bell()
    deliveries.on_fewer = fewer.ring
    deliveries.start()
    numbers, times, replies = range(MESSAGES), itertools.count(1), list[bytes]()

    def ready() -> None:
        replies[:] = entries(next(times), [orjson.dumps(envelope(one)) for one in numbers])

    def given() -> Iterator[list[Any]]:
        parser = hiredis.Reader()
        for reply in replies:
            parser.feed(reply)
            yield parser.gets()[0][1]

    async def ours() -> None:
        for one in given():
            deliveries.came("x-1", one)
            await asyncio.sleep(0)
        while len(deliveries):
            await fewer.wait(1.0)

    async def least() -> None:
        for one in given():
            for _, fields in one:
                orjson.loads(fields[1])["d"]
            pack("XACK", "hm:t:s:x-1", "g", *[entry for entry, _ in one])

    found = await measured(ours, least, HANDLE, ready)
    assert streams.acknowledged == sink.handled == MESSAGES * found.rounds
    assert found.times < HANDLE
    await deliveries.aclose()
    await sink.stopped(0.0)
