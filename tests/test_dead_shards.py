"""A shard of a Cluster that is dead or frozen and has no replica: what is on the others goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from .bus_kit import Collector, passes
from .clusters import Cluster, ClusterNode
from .patterns_kit import resident
from .test_heart import living
from .waiting import eventually_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.fixture
def cluster(server_program: Path) -> Iterator[Cluster]:
    """One that serves what it can."""
    made = Cluster(server_program)
    for node in made.nodes:
        node.lines = (*node.lines, "cluster-require-full-coverage no")
    with made:
        yield made


@pytest.fixture
def victim(cluster: Cluster) -> ClusterNode:
    """A primary that is not the home of the hive."""
    return cluster.others("t")[0]


@pytest.fixture
def whole(server_program: Path) -> Iterator[Cluster]:
    """One that serves nothing as soon as a part of it is missing."""
    with Cluster(server_program) as made:
        yield made


async def test_a_cluster_that_writes_nothing_silences_nobody(whole: Cluster) -> None:
    victim = whole.others("t")[0]
    async with living(whole, lease=2.0) as (bus, heart, _, fenced):
        got = await Collector("x").join(bus)
        await asyncio.to_thread(victim.kill)
        await eventually_async(lambda: not whole.owner("t").is_ok, 10)
        spoke = []
        for number in range(40):
            await passes(0.1)
            spoke.append(heart.may_speak())
            bus.send("x", number)
        assert all(spoke)
        assert await got.has(40) == list(range(40))
        await asyncio.to_thread(victim.start)
        await eventually_async(lambda: whole.owner("t").is_ok, 10)
        await eventually_async(lambda: whole.owner("t").command("EXISTS", "hm:{t}:node:batman.0") == 1, 10)
        assert not fenced


def split(cluster: Cluster, victim: ClusterNode, prefix: str) -> tuple[str, list[str]]:
    """A topic that ``victim`` serves, and ten that others do."""
    names = [f"{prefix}.{number}" for number in range(100)]
    here = [name for name in names if cluster.owner(name) is victim]
    return here[0], [name for name in names if name not in here][:10]


async def test_a_dead_shard_holds_up_no_new_topic_and_no_new_subscriber_and_its_losses_are_counted(
    cluster: Cluster, victim: ClusterNode
) -> None:
    (dead, living), (dead_too, more) = split(cluster, victim, "a"), split(cluster, victim, "b")
    async with resident(cluster.url, "t", "alfred.0") as alfred, resident(cluster.url, "t", "bruce.0") as bruce:
        got = await Collector("*").join(bruce.bus)
        for topic in living[:3]:
            alfred.bus.send(topic, "before")
        await got.has(3)
        await asyncio.to_thread(victim.kill)
        await passes(1.5)
        alfred.bus.send(dead, "waits")
        await passes(1.5)
        for topic in more:
            alfred.bus.send(topic, "new")
        await got.has(13)
        async with resident(cluster.url, "t", "clark.0") as clark:
            other = await asyncio.wait_for(Collector("*").join(clark.bus), 10)
            alfred.bus.send(more[0], "to both")
            assert await other.has(1) == ["to both"]
            await got.has(14)
            alfred.bus.send(dead_too, "waits, too")
            await asyncio.to_thread(victim.start)
            await alfred.bus.flush(20)
            for each, count in ((got, 16), (other, 3)):
                await eventually_async(lambda each=each, count=count: each.accounted == count, 10)  # type: ignore[misc]


async def test_a_frozen_shard_delays_new_topics_on_others_by_no_more_than_a_second(
    cluster: Cluster, victim: ClusterNode
) -> None:
    (dead, living), (_, more) = split(cluster, victim, "a"), split(cluster, victim, "b")
    async with resident(cluster.url, "t", "alfred.0") as alfred, resident(cluster.url, "t", "bruce.0") as bruce:
        got = await Collector("*").join(bruce.bus)
        for topic in [dead.replace("a", "a.old"), *living]:
            alfred.bus.send(topic, "before")
        await got.has(11)
        victim.freeze()
        try:
            alfred.bus.send(dead, "waits")
            for count, topic in enumerate(more[:3], 12):
                alfred.bus.send(topic, "new")
                await got.has(count, 2.5)
        finally:
            victim.thaw()
        await alfred.bus.flush(20)
        await eventually_async(lambda: got.accounted == 15, 10)
