"""A primary behind Sentinels that moves: whoever leads elsewhere comes to it, and nothing confirmed is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.bus import Bus
from hivemind.bus.peers import LATE, Peers
from hivemind.bus.primary import MOVED, moved_to
from hivemind.retention import Tier

from .bus_kit import Collector, are_up, is_in_order, on_bus, pair, passes, until
from .sentinel import Guarded
from .servers import RedisServer
from .test_appender import numbers
from .waiting import eventually_async

BACK = 3.0  # seconds after the promotion


@pytest.fixture
def guarded(server_program: Path) -> Iterator[Guarded]:
    with Guarded(server_program) as made:
        yield made


def leads_to(bus: Bus, server: RedisServer) -> bool:
    return bus.endpoint.peers.addresses == {("127.0.0.1", server.port)}


async def a_fresh_start(guarded: Guarded) -> float:
    """How long it takes here, now, to connect: what a busy machine costs."""
    begun = time.monotonic()
    async with on_bus(guarded.url, "robin.0"):
        return time.monotonic() - begun


async def flows_again(sender: Bus, got: Collector) -> None:
    """Send until something is heard: what passed by while both came to the new primary is lost, and counted."""
    before = len(got.handled)

    async def is_heard() -> bool:
        sender.send("x", "again")
        await passes(0.05)
        return len(got.handled) > before

    await until(is_heard, 20.0)


@pytest.mark.alone
@pytest.mark.slow
async def test_a_frozen_primary_is_left_within_three_seconds_of_the_promotion_and_stays_left_when_it_is_back(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    first = guarded.servers[0]
    async with pair(f"{guarded.url}?hive=t") as (alfred, bruce, got):
        alfred.keep("orders", confirm=Tier.REPLICA)
        for number in range(500):
            alfred.send("orders", number)
        await alfred.flush(20.0)
        await asyncio.to_thread(first.freeze)
        second = await asyncio.to_thread(guarded.promoted, first)
        promoted = time.monotonic()
        await flows_again(alfred, got)
        alfred.send("orders", 500)
        await alfred.flush(20.0)
        took = time.monotonic() - promoted
        assert took < BACK + 3 * await a_fresh_start(guarded)
        assert "connection(s) that led elsewhere are made anew" in caplog.text
        assert "no answer for" not in caplog.text  # nobody had to find out by himself
        await asyncio.to_thread(first.thaw)
        await flows_again(alfred, got)
        await eventually_async(lambda: guarded.primaries == [second], 30.0)
        await flows_again(alfred, got)
        await eventually_async(lambda: leads_to(alfred, second) and leads_to(bruce, second))
        assert is_in_order(got)
        assert await numbers(second.url, "orders") == list(range(501))


@pytest.mark.slow
async def test_a_primary_that_is_replaced_on_purpose_or_killed_is_left_by_all(guarded: Guarded) -> None:
    first = guarded.servers[0]
    async with pair(f"{guarded.url}?hive=t") as (alfred, bruce, got):
        await asyncio.to_thread(guarded.sentinels[0].command, "SENTINEL", "FAILOVER", "main")
        second = await asyncio.to_thread(guarded.promoted, first)
        await eventually_async(lambda: leads_to(alfred, second) and leads_to(bruce, second), 20.0)
        assert first in guarded.primaries  # for ten seconds more, by its own account
        await eventually_async(lambda: guarded.primaries == [second], 60.0)
        await flows_again(alfred, got)
        guarded.sentinels[0].freeze()  # it may be the one that is listened to
        await asyncio.to_thread(second.kill)
        third = await asyncio.to_thread(guarded.promoted, second)
        await are_up(alfred, bruce, within=20.0)
        await flows_again(alfred, got)
        assert leads_to(alfred, third)
        assert is_in_order(got)


async def test_without_any_sentinel_a_primary_that_was_demoted_is_left_all_the_same(guarded: Guarded) -> None:
    first, second, _ = guarded.servers
    async with pair(f"{guarded.url}?hive=t") as (alfred, bruce, _):
        for sentinel in guarded.sentinels:
            await asyncio.to_thread(sentinel.kill)
        second.command("REPLICAOF", "NO", "ONE")
        first.command("REPLICAOF", "127.0.0.1", second.port)
        await eventually_async(lambda: alfred.outbox.link.gaps + bruce.live.link.gaps >= 2, 20.0)


@given(st.binary() | st.just(b"main 127.0.0.1 6379 127.0.0.1 x") | st.just(b"other 1.1.1.1 1 2.2.2.2 2"))
def test_what_sentinels_publish_that_is_no_move_of_ours_says_nothing(said: bytes) -> None:
    assert moved_to("main", [b"message", MOVED.encode(), said]) is None
    assert moved_to("main", said) is None


def test_a_move_says_where_the_primary_is_now() -> None:
    said = [b"message", MOVED.encode(), b"main 10.0.0.1 6379 redis-2.local 6380"]
    assert moved_to("main", said) == ("redis-2.local", 6380)


def test_who_has_no_connections_has_none_to_leave() -> None:
    assert Peers().leave(("127.0.0.1", 1)) == 0


def test_where_a_sentinel_has_just_said_that_the_primary_is_one_goes_at_once_until_that_fails_or_is_old() -> None:
    now = 0.0
    peers = Peers(lambda: now)
    assert peers.told is None
    peers.follow(("10.0.0.2", 6379))
    assert peers.told == ("10.0.0.2", 6379)
    peers.doubt()
    assert peers.told is None
    peers.follow(("10.0.0.2", 6379))
    now = LATE
    assert peers.told is None
