"""Live messages over all shards of a Cluster: every topic where its slot is served, also while slots move."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.outgoing import OutboxOptions

from .bus_kit import Collector, on_bus
from .clusters import Cluster, ClusterNode
from .waiting import eventually_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

TOPICS = [f"t.{number}" for number in range(30)]


@pytest.fixture(scope="module")
def cluster(server_program: Path) -> Iterator[Cluster]:
    with Cluster(server_program) as started:
        yield started


@contextlib.asynccontextmanager
async def spread(cluster: Cluster, hive: str, instance: str, outbox: OutboxOptions | None = None) -> AsyncIterator[Bus]:
    async with on_bus(cluster.url, instance, hive, outbox=outbox) as bus:
        bus.spread()
        yield bus


@contextlib.asynccontextmanager
async def two(cluster: Cluster, hive: str) -> AsyncIterator[tuple[Bus, Bus]]:
    """Who sends, and who receives."""
    async with spread(cluster, hive, "alfred.0") as alfred, spread(cluster, hive, "bruce.0") as bruce:
        yield alfred, bruce


def on(cluster: Cluster, node: ClusterNode) -> str:
    """A topic that ``node`` serves."""
    return next(topic for topic in TOPICS if cluster.owner(topic) is node)


def in_order(got: Collector, topic: str) -> list[int]:
    return [sequence for at, _, sequence, _ in got.handled if at == topic]


async def test_topics_travel_over_all_shards_in_order_and_none_is_lost(cluster: Cluster, hive_name: str) -> None:
    async with two(cluster, hive_name) as (alfred, bruce):
        got = [await Collector(topic).join(bruce) for topic in TOPICS]
        for number in range(300):
            for topic in TOPICS:
                alfred.send(topic, number)
        await alfred.flush()
        for each in got:
            assert await each.has(300) == list(range(300))
            assert each.sequences == list(range(1, 301))
            assert (each.subscription.ledger.missed, each.subscription.ledger.duplicate) == (0, 0)
        for node in cluster.primaries:
            assert len(node.command("PUBSUB", "SHARDCHANNELS", f"hm:{hive_name}:*")) >= 5
            assert node.command("PUBSUB", "CHANNELS", f"hm:{hive_name}:t:*") == []


async def test_threads_send_over_all_shards(cluster: Cluster, hive_name: str) -> None:
    async with two(cluster, hive_name) as (alfred, bruce):
        got = [await Collector(topic).join(bruce) for topic in TOPICS[:6]]

        def work() -> None:
            for number in range(5000):
                alfred.send(TOPICS[number % 6], number)

        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(3)))
        await alfred.flush()
        for each in got:
            await each.has(2499)
            assert each.sequences == list(range(1, len(each.handled) + 1))


async def test_a_slot_moves_while_messages_flow_and_each_arrives_once_and_in_order(
    cluster: Cluster, hive_name: str
) -> None:
    node, other = cluster.primaries[0], cluster.primaries[1]
    moving, staying = on(cluster, node), on(cluster, other)
    async with two(cluster, hive_name) as (alfred, bruce):
        got = [await Collector(topic).join(bruce) for topic in (moving, staying)]
        stop = asyncio.Event()
        sending = asyncio.create_task(send_until(alfred, (moving, staying), stop))
        for target in (other, node, other, node):
            before = len(got[0].handled)
            await got[0].has(before + 500, 10)
            await asyncio.to_thread(cluster.move, moving, target)
        await got[0].has(len(got[0].handled) + 500, 10)
        stop.set()
        sent = await sending
        await alfred.flush()
        for each in got:
            await eventually_async(lambda each=each: each.accounted == sent)  # type: ignore[misc]
            assert each.sequences == list(range(1, sent + 1))
            assert each.subscription.ledger.missed == 0


async def send_until(bus: Bus, topics: tuple[str, ...], stop: asyncio.Event) -> int:
    number = 0
    while not stop.is_set():
        for topic in topics:
            bus.send(topic, number)
        number += 1
        if not number % 20:
            await bus.drain()
            await asyncio.sleep(0.002)
    return number
