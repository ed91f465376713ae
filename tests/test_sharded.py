"""Live messages over all shards of a Cluster: every topic where its slot is served, also while slots move."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.outgoing import OutboxOptions
from hivemind.bus.sharded_live import ShardedLive
from hivemind.bus.sharded_outbox import ShardedOutbox
from hivemind.errors import Refused, Unconfirmed

from .bus_kit import Collector, on_bus
from .clusters import Cluster, ClusterNode
from .waiting import eventually_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

TOPICS = [f"t.{number}" for number in range(30)]


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
        for node in cluster.others(hive_name):  # the home has them all, for what is kept
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
        await all_in_order(got, sent)


async def all_in_order(got: Sequence[Collector], sent: int) -> None:
    """Every collector handles what was sent, in order, and misses nothing."""
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


async def test_a_shard_takes_over_all_slots_while_messages_flow_and_none_is_lost(server_program: Path) -> None:
    topics = tuple(TOPICS)
    with Cluster(server_program) as own:
        async with two(own, "t") as (alfred, bruce):
            got = [await Collector(topic).join(bruce) for topic in topics]
            stop = asyncio.Event()
            sending = asyncio.create_task(send_until(alfred, topics, stop))
            await got[0].has(20)
            for topic in topics:
                if own.owner(topic) is not own.primaries[1]:
                    await asyncio.to_thread(own.move, topic, own.primaries[1])
            await flowing(got)
            stop.set()
            sent = await sending
            await alfred.flush()
            await all_in_order(got, sent)
            channels = own.primaries[1].command("PUBSUB", "SHARDCHANNELS")
            assert sorted(channels) == sorted(f"hm:t:t:{{{topic}}}" for topic in topics)


# -- a beat comes over the home, messages come over a shard


@pytest.fixture
def away(cluster: Cluster, hive_name: str) -> ClusterNode:
    """A primary that is not the home of the hive."""
    return cluster.others(hive_name)[0]


async def beaten(alfred: Bus, bruce: Bus, topic: str) -> tuple[Collector, list[bytes]]:
    """What Bruce gets on ``topic``, one message so far, and the beats of Alfred that he hears."""
    got, beats = await Collector(topic).join(bruce), list[bytes]()
    bruce.live.listen(bruce.names.beat("alfred.0"), beats.append)
    alfred.send(topic, 0)
    await got.has(1)
    await bruce.live.confirmed()
    return got, beats


async def test_a_beat_tells_only_what_redis_has_confirmed(cluster: Cluster, hive_name: str, away: ClusterNode) -> None:
    topic = on(cluster, away)
    async with two(cluster, hive_name) as (alfred, bruce):
        got, beats = await beaten(alfred, bruce, topic)
        away.freeze()
        try:
            for number in range(1, 100):
                alfred.send(topic, number)
            await alfred.tell_last()
            await eventually_async(lambda: beats)
            assert b'"last":{"%b":1}' % topic.encode() in beats[-1]
            with pytest.raises(Unconfirmed) as caught:
                await alfred.flush(0.1)
            assert [one.sequence for one in caught.value.messages] == list(range(2, 101))
        finally:
            away.thaw()
        assert await got.has(100) == list(range(100))
        await alfred.flush()
        assert (got.subscription.ledger.missed, got.subscription.ledger.duplicate) == (0, 0)


async def test_what_a_beat_tells_is_entered_behind_messages_that_are_not_read_yet(
    cluster: Cluster, hive_name: str, away: ClusterNode
) -> None:
    topic = on(cluster, away)
    async with two(cluster, hive_name) as (alfred, bruce):
        got, beats = await beaten(alfred, bruce, topic)
        assert isinstance(bruce.live, ShardedLive)
        link = bruce.live.shards.at(("127.0.0.1", away.port)).link
        link.pause_reading()
        for number in range(1, 1000):
            alfred.send(topic, number)
        await alfred.flush()
        await eventually_async(lambda: beats)
        assert (len(got.handled), got.subscription.ledger.missed) == (1, 0)
        link.resume_reading()
        assert await got.has(1000) == list(range(1000))
        assert (got.subscription.ledger.missed, got.subscription.ledger.duplicate) == (0, 0)


async def test_a_lost_tail_shows(cluster: Cluster, hive_name: str, away: ClusterNode) -> None:
    topic = on(cluster, away)
    async with two(cluster, hive_name) as (alfred, bruce):
        got = await Collector(topic).join(bruce)
        alfred.send(topic, 0)
        await got.has(1)
        await bruce.live.confirmed()
        away.command("ACL", "SETUSER", "default", "resetchannels", f"&hm:{hive_name}:[bc]:*")
        try:
            for number in range(1, 6):
                alfred.send(topic, number)
            with pytest.raises(Refused):
                await alfred.flush()
            await eventually_async(lambda: got.subscription.ledger.missed == 5)
        finally:
            away.command("ACL", "SETUSER", "default", "allchannels")


# -- a shard that does not answer


async def test_a_frozen_shard_stops_no_other(cluster: Cluster, hive_name: str, away: ClusterNode) -> None:
    slow, quick = on(cluster, away), on(cluster, cluster.owner(hive_name))
    async with two(cluster, hive_name) as (alfred, bruce):
        got = [await Collector(topic).join(bruce) for topic in (slow, quick)]
        alfred.send(slow, "first")
        await got[0].has(1)
        away.freeze()
        try:
            for number in range(100):
                alfred.send(slow, number)
                alfred.send(quick, number)
            assert await got[1].has(100, 0.5) == list(range(100))
            assert alfred.outbox.waiting == 100
        finally:
            away.thaw()
        assert await got[0].has(101) == ["first", *range(100)]


async def test_a_full_outbox_drops_the_oldest_wherever_they_wait(
    cluster: Cluster, hive_name: str, away: ClusterNode
) -> None:
    topic, few = on(cluster, away), OutboxOptions(messages=50, policy="drop-oldest")
    async with (
        spread(cluster, hive_name, "alfred.0", few) as alfred,
        spread(cluster, hive_name, "bruce.0") as bruce,
    ):
        got = await Collector(topic).join(bruce)
        alfred.send(topic, "first")
        await got.has(1)
        assert isinstance(alfred.outbox, ShardedOutbox)
        alfred.outbox.shards.at(("127.0.0.1", away.port)).hold_back([topic])
        for number in range(200):
            alfred.send(topic, number)
            if number % 10 == 0:
                await asyncio.sleep(0)
        assert (alfred.outbox.waiting, alfred.outbox.dropped) == (50, 150)
        await alfred.flush()
        assert await got.has(51) == ["first", *range(150, 200)]
        await eventually_async(lambda: got.subscription.ledger.missed == 150)
        assert alfred.outbox.waiting == 0


async def test_a_cut_link_to_a_shard_is_a_gap_and_heals(cluster: Cluster, hive_name: str, away: ClusterNode) -> None:
    topic = on(cluster, away)
    gaps: list[str] = []
    async with two(cluster, hive_name) as (alfred, bruce):
        got = await Collector(topic).join(bruce)
        bruce.live.on_gap = gaps.append
        alfred.send(topic, "first")
        await got.has(1)
        for turn in range(6):
            for number in range(200):
                alfred.send(topic, [turn, number])
            await asyncio.to_thread(away.command, "CLIENT", "KILL", "TYPE", "pubsub" if turn % 2 else "normal")
        await bruce.live.confirmed()
        alfred.send(topic, "last")
        await alfred.flush()
        await eventually_async(lambda: got.accounted == 1202)
        assert got.payloads[-1] == "last"
        assert got.sequences == sorted(set(got.sequences))
        assert len(gaps) >= 1
        assert bruce.live.gaps >= 1
        assert bruce.live.link.gaps == 0


# -- failover


async def test_a_failover_by_hand_and_one_by_death_with_messages_under_way(server_program: Path) -> None:
    with Cluster(server_program, replicas=3) as own:
        topics = tuple(TOPICS[:9])
        async with two(own, "t") as (alfred, bruce):
            got = [await Collector(topic).join(bruce) for topic in topics]
            stop = asyncio.Event()
            sending = asyncio.create_task(send_until(alfred, topics, stop))
            await got[0].has(50)
            await asyncio.to_thread(own.nodes[3].command, "CLUSTER", "FAILOVER", "TAKEOVER")
            await eventually_async(lambda: own.nodes[3].is_primary, within=10)
            await flowing(got)
            victim = own.primaries[1]
            await asyncio.to_thread(victim.kill)
            await eventually_async(lambda: own.nodes[4].is_primary, within=20)
            await flowing(got)
            stop.set()
            sent = await sending
            await alfred.flush(20)
            for each in got:
                await eventually_async(lambda each=each: each.accounted == sent)  # type: ignore[misc]
                assert each.sequences == sorted(set(each.sequences))


async def flowing(got: list[Collector]) -> None:
    """Return when something sent from now on has come on every topic."""
    before = [len(each.handled) for each in got]
    await asyncio.gather(*(each.has(count + 20, 15) for each, count in zip(got, before, strict=True)))
