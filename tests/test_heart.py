"""The heart: it beats through every kind of trouble, and is silent when another has its place."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import hiredis
import pytest

from hivemind.bus.bus import Bus
from hivemind.data.heartbeat import Heart
from hivemind.data.registry import Registry
from hivemind.errors import Fenced, HivemindError

from .bus_kit import Collector, on_bus, passes, until
from .clusters import Cluster
from .proxy import Proxy
from .servers import RedisServer
from .test_registry import STATS, about, is_lost, registry_of
from .waiting import eventually_async

pytestmark = pytest.mark.timeout(30)


@contextlib.asynccontextmanager
async def living(
    server: RedisServer | Cluster | str, lease: float = 0.6, hive: str = "t"
) -> AsyncIterator[tuple[Bus, Heart, Registry, list[HivemindError]]]:
    """batman.0, registered and beating."""
    fenced: list[HivemindError] = []
    async with on_bus(server if isinstance(server, str) else server.url, "batman.0", hive) as bus:
        book, me = registry_of(bus), about(lease)
        bus.identify("batman.0", await book.register("batman.0", me, STATS))
        heart = Heart(bus, book, me, lambda: STATS, fenced.append, lambda: None)
        heart.start(lease / 3)
        try:
            yield bus, heart, book, fenced
        finally:
            await heart.stop()


async def expires(book: Registry) -> float:
    found = await book.instance("batman.0")
    assert found is not None
    assert found.expires is not None
    return found.expires


@pytest.mark.every_server
async def test_a_beating_instance_is_never_lost(server: RedisServer, hive_name: str) -> None:
    async with living(server, hive=hive_name) as (_, heart, book, _):
        first = await expires(book)
        for _ in range(20):
            await passes(0.1)
            assert not await is_lost(book, "batman.0")
        assert await expires(book) > first
        assert heart.may_speak()


async def test_a_redis_that_takes_most_of_a_lease_to_answer_delays_no_beat(own_server: RedisServer) -> None:
    async with (
        on_bus(own_server.url, "alfred.0", "t") as near,
        Proxy(own_server.socket, latency=0.5) as far,
        living(f"redis://127.0.0.1:{far.port}", lease=1.5),
    ):
        for _ in range(60):
            await passes(0.1)
            assert not await is_lost(registry_of(near), "batman.0")


async def test_a_beat_is_told_without_waiting_for_the_lease(own_server: RedisServer) -> None:
    heard: list[float] = []
    async with (
        on_bus(own_server.url, "alfred.0", "t") as near,
        Proxy(own_server.socket, latency=0.5) as far,
        living(f"redis://127.0.0.1:{far.port}", lease=30.0) as (bus, heart, _, _),
    ):
        near.live.listen(near.names.beat("batman.0"), lambda _: heard.append(time.monotonic()))
        await eventually_async(lambda: bool(heard), 10.0)  # its first: it is connected
        await passes(1.5)
        heard.clear()
        began = time.monotonic()
        await heart.beat()
        assert time.monotonic() - began >= 1.0  # there and back
        assert heard[0] - began < 1.0
        assert len(heard) == 1
        await heart.stop()
        heart.confirmed -= 60  # then nobody knows whose turn it is
        del heard[:]
        began = time.monotonic()
        await heart.beat()
        await eventually_async(lambda: bool(heard), 5.0)
        assert heard[0] - began >= 1.0
        assert bus.outbox.link.is_up


def fill(server: RedisServer) -> None:
    """Write until it says that its memory is full."""
    for number in range(10_000):
        try:
            server.command("SET", f"fill:{number}", "x" * 1024)
        except hiredis.ReplyError:
            return
    raise AssertionError("its memory never was full")


@pytest.mark.every_server
async def test_out_of_memory_nobody_is_lost_and_messages_flow(own_server: RedisServer) -> None:
    async with living(own_server) as (bus, _, book, fenced):
        used = int(str(own_server.command("INFO", "memory")).split("used_memory:")[1].split()[0])
        own_server.command("CONFIG", "SET", "maxmemory", used + 64 * 1024)
        fill(own_server)
        got = await Collector("x").join(bus)
        for number in range(15):
            await passes(0.1)
            bus.send("x", number)
            assert not await is_lost(book, "batman.0")
        assert await got.has(15) == list(range(15))
        life = await book.register("robin.0", about(), STATS)
        assert await book.renew("robin.0", life, 6.0, STATS)
        assert not fenced


@pytest.mark.every_server
@pytest.mark.parametrize("kill", [True, False])
async def test_after_redis_lost_everything_the_same_life_is_back_within_a_beat(
    own_server: RedisServer, kill: bool
) -> None:
    async with living(own_server) as (bus, _, book, fenced):
        bus.send("x", 1)
        await asyncio.to_thread(own_server.restart, keep_data=False, kill=kill)
        back = time.monotonic()

        async def is_registered() -> bool:
            found = await book.instance("batman.0")
            return found is not None and found.incarnation == bus.incarnation

        await until(is_registered, 3.0)
        assert time.monotonic() - back < 1.0
        bus.send("x", 2)
        await bus.flush(3.0)
        assert bus.outbox.spool.last_sequences() == [{"x": 2}]
        assert not fenced


async def turns() -> None:
    """Let the outbox have its turn, and Redis the time to answer."""
    await passes(0.05)


async def test_after_a_freeze_the_outbox_asks_before_it_writes(own_server: RedisServer) -> None:
    async with living(own_server) as (bus, heart, _, _):
        got = await Collector("x").join(bus)
        await heart.stop()
        heart.confirmed -= 60  # as if the process had stood still for a minute
        own_server.command("HSET", "hm:{t}:node:batman.0", "incarnation", str(bus.incarnation + 1))
        bus.send("x", "from a zombie")
        await turns()
        with pytest.raises(Fenced) as caught:
            await heart.beat()
        await turns()
        assert caught.value.newer == bus.incarnation + 1
        assert (got.handled, bus.outbox.waiting) == ([], 1)


async def test_after_a_freeze_without_a_successor_all_goes_on(own_server: RedisServer) -> None:
    async with living(own_server) as (bus, heart, _, _):
        got = await Collector("x").join(bus)
        await heart.stop()
        heart.confirmed -= 60
        own_server.command("DEL", "hm:{t}:node:batman.0")
        bus.send("x", "still me")
        await turns()
        assert got.handled == []
        await heart.beat()
        assert await got.has(1) == ["still me"]


async def test_what_is_kept_goes_on_after_a_freeze_though_nothing_more_is_sent(own_server: RedisServer) -> None:
    async with living(own_server) as (bus, heart, _, _):
        await heart.stop()
        bus.keep("x")
        heart.confirmed -= 60
        bus.send("x", "still me")
        await turns()
        assert bus.waiting == 1
        await heart.beat()
        await bus.flush(5.0)
        assert own_server.command("XLEN", "hm:t:s:{x}") == 1


async def test_a_successor_is_noticed_even_by_one_that_never_stood_still(own_server: RedisServer) -> None:
    async with living(own_server) as (bus, _, _, fenced):
        own_server.command("HSET", "hm:{t}:node:batman.0", "incarnation", str(bus.incarnation + 1))
        await eventually_async(lambda: fenced, 2.0)


async def test_a_redis_that_writes_nothing_silences_nobody(own_server: RedisServer) -> None:
    async with living(own_server, lease=0.5) as (bus, _, _, fenced):
        got = await Collector("x").join(bus)
        own_server.command("CONFIG", "SET", "min-replicas-to-write", 1)  # refuses writes, as a full disk does
        for number in range(10):
            await passes(0.1)
            bus.send("x", number)
        assert await got.has(10) == list(range(10))
        own_server.command("CONFIG", "SET", "min-replicas-to-write", 0)
        await eventually_async(lambda: own_server.command("EXISTS", "hm:{t}:node:batman.0") == 1)
        assert not fenced


async def test_a_lease_that_cannot_be_renewed_is_a_part_of_the_outage_and_what_became_of_it_is_told(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hivemind.redis")
    async with living(own_server, lease=0.5) as (bus, heart, _, _):
        await asyncio.to_thread(own_server.stop)
        await eventually_async(lambda: "could not renew its lease of 0.5 s, and sending pauses" in bus.outage.text, 5.0)
        await asyncio.to_thread(own_server.start)
        await eventually_async(lambda: heart.may_speak() and bus.outage.since is None, 5.0)
    assert [line.partition(" ")[0] for line in said(caplog)] == ["waiting", "Redis"]
    assert "batman.0: the lease ended meanwhile, or Redis lost its data; registering again" in caplog.text


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of Redis being away, and of its being back."""
    return [record.getMessage() for record in caplog.records if record.name == "hivemind.redis"]
