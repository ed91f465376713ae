"""Live subscriptions: who gets what, once, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from hivemind.bus import channels as channels_module
from hivemind.bus import senders as senders_module
from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.inbox import InboxLimits
from hivemind.bus.live import Live
from hivemind.bus.receiving import LiveSubscription
from hivemind.errors import InvalidName, RedisDenied, RedisUnavailable
from hivemind.message import MAX_PAYLOAD
from hivemind.states import LinkState
from hivemind.topics import Names

from .bus_kit import Collector, are_up, on_bus
from .servers import RedisServer
from .waiting import eventually_async

pytestmark = pytest.mark.timeout(30)


@contextlib.asynccontextmanager
async def two(server: RedisServer, hive: str) -> AsyncIterator[tuple[Bus, Bus]]:
    """Alfred, who sends, and Bruce, who subscribes."""
    async with on_bus(server.url, "bruce.0", hive) as bruce, on_bus(server.url, "alfred.0", hive) as alfred:
        yield alfred, bruce


def publish(server: RedisServer, hive: str, topic: str, body: str | bytes) -> None:
    server.command("PUBLISH", f"hm:{hive}:t:{topic}", body)


@pytest.mark.every_loop
async def test_exact_topics_and_patterns_get_what_they_ask_for(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce):
        asked = ["bat.signal", "bat.*", "*", "[!b]*", "ba?.signal", "joker"]
        got = {pattern: await Collector(pattern).join(bruce) for pattern in asked}
        for topic in ("bat.signal", "bat.mobile", "robin"):
            alfred.send(topic, topic)
        await alfred.flush()
        await got["*"].has(3)
        assert got["*"].payloads == ["bat.signal", "bat.mobile", "robin"]
        assert got["bat.*"].payloads == ["bat.signal", "bat.mobile"]
        assert got["bat.signal"].payloads == got["ba?.signal"].payloads == ["bat.signal"]
        assert (got["[!b]*"].payloads, got["joker"].payloads) == (["robin"], [])


async def test_overlapping_patterns_deliver_once_to_each_subscription(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce):
        got = [await Collector(pattern).join(bruce) for pattern in ("bat.*", "bat.*", "*.signal", "bat.signal")]
        for i in range(100):
            alfred.send("bat.signal", i)
        for one in got:
            assert await one.has(100) == list(range(100))
        await alfred.flush()
        assert [len(one.handled) for one in got] == [100] * 4


async def test_what_one_handler_does_to_its_payload_the_other_does_not_see(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce):
        one, other = [await Collector("x").join(bruce) for _ in range(2)]
        alfred.send("x", {"list": []})
        (await one.has(1))[0]["list"].append("mine")
        assert await other.has(1) == [{"list": []}]


async def test_order_is_kept_for_each_sender_and_topic(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce), on_bus(server.url, "robin.0", hive_name) as robin:
        got = await Collector("*").join(bruce)
        for i in range(2000):
            (alfred, robin)[i % 2].send("xy"[i // 2 % 2], i)
        await got.has(2000)
        for sender in ("alfred.0", "robin.0"):
            for topic in "xy":
                mine = [(s, p) for t, n, s, p in got.handled if (t, n) == (topic, sender)]
                assert mine == sorted(mine)
                assert [s for s, _ in mine] == list(range(1, 501))
        assert got.subscription.ledger.missed == 0


async def test_one_hears_oneself(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "a.0", hive_name) as bus:
        got = await Collector("x").join(bus)
        bus.send("x", 1)
        assert await got.has(1) == [1]


async def test_hives_do_not_hear_each_other(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "a.0", hive_name) as here, on_bus(server.url, "a.0", f"{hive_name}-2") as there:
        got = await Collector("*").join(here)
        there.send("x", "there")
        await there.flush()
        here.send("x", "here")
        assert await got.has(1) == ["here"]


async def test_after_leaving_nothing_comes_and_what_came_can_be_taken(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce):
        leaving, staying = LiveSubscription("x"), await Collector("x*").join(bruce)
        await bruce.subscribe(leaving)
        alfred.send("x", 1)
        await staying.has(1)
        bruce.live.remove(leaving)
        bruce.live.remove(leaving)
        alfred.send("x", 2)
        await staying.has(2)
        assert (leaving.inbox.is_closed, len(leaving.inbox)) == (True, 1)
        again = await Collector("x").join(bruce)
        alfred.send("x", 3)
        assert await again.has(1) == [3]


async def test_a_mebibyte_passes_and_as_bytes_too(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce):
        got = await Collector("x").join(bruce)
        for i in range(20):
            alfred.send("x", str(i % 10) * (MAX_PAYLOAD - 2))
        received = await got.has(20)
        assert [len(text) for text in received] == [MAX_PAYLOAD - 2] * 20


async def test_a_foreign_message_is_delivered_and_what_is_none_is_counted(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "bruce.0", hive_name) as bruce:
        plain, raw = await Collector("x").join(bruce), await Collector("x", raw=True).join(bruce)
        bodies: list[str | bytes] = [
            '"hi"',
            "not json",
            b"\xff",
            '{"v":1}',
            '{"v":7,"d":1}',
            "[" * 2000,
            '{"a":1}',
            "null",
        ]
        for body in bodies:
            publish(server, hive_name, "x", body)
        await eventually_async(lambda: len(plain.handled) + plain.subscription.malformed == len(bodies))
        assert plain.payloads == ["hi", {"a": 1}, None]
        assert plain.subscription.malformed == raw.subscription.malformed == 5
        assert len(await raw.has(8)) == 8
        assert raw.payloads[1:4] == [b"not json", b"\xff", b'{"v":1}']


async def test_hostile_bytes_do_not_cost_the_connection(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "bruce.0", hive_name) as bruce:
        got = await Collector("*").join(bruce)
        for n in ("", "x" * 5000, "\x00", "b*", "../..", "a.0"):
            publish(server, hive_name, "y", orjson.dumps({"v": 1, "n": n, "e": 2**63, "s": 2**63, "d": 1}))
        for beat in ("{}", "[]", "null", '{"n":"a.0","e":1,"last":{"y":[]}}', '{"n":"a.0","e":"x","last":1}'):
            server.command("PUBLISH", bruce.names.beat("a.0"), beat)
        server.command("PUBLISH", f"hm:{hive_name}:t:" + "z" * 100_000, "1")
        publish(server, hive_name, "y", '"end"')
        await eventually_async(lambda: "end" in got.payloads)
        assert bruce.live.link.gaps == 0


async def test_a_listener_that_fails_harms_nobody(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce):
        heard: list[bytes] = []

        def fail(body: bytes) -> None:
            raise ValueError(body)

        bruce.live.listen(bruce.names.control("node"), fail)
        bruce.live.listen(bruce.names.control("node"), heard.append)
        await bruce.live.confirmed()
        alfred.notify("node", {"event": "joined"})
        await eventually_async(lambda: heard == [b'{"event":"joined"}'])
        bruce.live.unlisten(bruce.names.control("node"), heard.append)
        assert bruce.live.link.gaps == 0


async def test_a_lost_tail_shows_with_the_senders_flush(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce):
        got = await Collector("x").join(bruce)
        alfred.send("x", 1)
        await got.has(1)
        await bruce.live.confirmed()  # also to Alfred's beats
        alfred.outbox.spool._topics["x"].sequence += 5  # as if five messages had been lost on the way
        await alfred.flush()
        await eventually_async(lambda: got.accounted == 6)
        assert got.subscription.ledger.missed == 5


async def test_a_full_inbox_drops_the_oldest_and_delays_nobody_else(server: RedisServer, hive_name: str) -> None:
    async with two(server, hive_name) as (alfred, bruce):
        stuck = LiveSubscription("x", limits=InboxLimits(messages=10))
        await bruce.subscribe(stuck)
        got = await Collector("x*").join(bruce)
        for i in range(1000):
            alfred.send("x", i)
        await got.has(1000)
        assert (stuck.inbox.dropped, stuck.ledger.received, len(stuck.inbox)) == (990, 1000, 10)


async def test_a_pattern_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidName):
        LiveSubscription("bat signal")


async def test_subscribing_before_redis_is_there_is_confirmed_when_it_is(own_server: RedisServer) -> None:
    own_server.stop()
    async with on_bus(own_server.url, up=False) as bus:
        joining = asyncio.create_task(Collector("x").join(bus))
        await eventually_async(lambda: bus.live.link.last_error)
        own_server.start()
        begun = time.monotonic()
        await asyncio.wait_for(joining, 2)
        assert time.monotonic() - begun < 0.9


async def test_a_link_lost_while_waiting_for_confirmation_is_waited_out(own_server: RedisServer) -> None:
    async with on_bus(own_server.url) as bus:
        own_server.freeze()
        joining = asyncio.create_task(Collector("x").join(bus))
        await asyncio.sleep(0)
        bus.live.link.drop("a test")
        own_server.thaw()
        got = await asyncio.wait_for(joining, 5)
        await are_up(bus)
        bus.send("x", 1)
        assert await got.has(1) == [1]


# -- what an ACL forbids


def allow(server: RedisServer, *channels: str) -> None:
    patterns = [f"&{channel}" for channel in ("hm:t:b:*", *channels)]
    server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "resetchannels", *patterns)


def calls(server: RedisServer, command: str) -> int:
    """How often Redis was asked for something, refused or not."""
    lines = str(server.command("INFO", "commandstats")).splitlines()
    fields = next((line.split(",") for line in lines if line.startswith(f"cmdstat_{command}:")), [])
    counted = dict(field.rpartition(":")[2].split("=") for field in fields)
    return sum(int(counted.get(name, 0)) for name in ("calls", "rejected_calls", "failed_calls"))


@pytest.fixture
def fast_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "DENIED_DELAY", 0.2)


async def test_a_forbidden_pattern_is_said_to_whom_it_concerns_only(own_server: RedisServer, fast_retry: None) -> None:
    allow(own_server, "hm:t:t:a*")
    async with on_bus(f"unix://bob:pw@{own_server.socket}") as bus:
        with pytest.raises(RedisDenied, match=r"hm:t:t:b\*"):
            await Collector("b*").join(bus)
        await Collector("a*").join(bus)
        assert list(bus.live.denied) == ["hm:t:t:b*"]
        with pytest.raises(RedisDenied):
            await bus.live.confirmed()


async def test_a_revoked_pattern_leaves_the_others_alive_and_heals_when_granted(
    own_server: RedisServer, fast_retry: None, caplog: Any
) -> None:
    allow(own_server, "hm:t:t:a*", "hm:t:t:b*")
    async with on_bus(f"unix://bob:pw@{own_server.socket}") as bus, on_bus(own_server.url, "s.0") as sender:
        got_a, got_b = await Collector("a*").join(bus), await Collector("b*").join(bus)
        allow(own_server, "hm:t:t:a*")
        await eventually_async(lambda: list(bus.live.denied) == ["hm:t:t:b*"])
        await are_up(bus)
        for topic in ("b1", "a1"):
            sender.send(topic, topic)
        assert await got_a.has(1) == ["a1"]
        before = calls(own_server, "psubscribe")
        await eventually_async(lambda: calls(own_server, "psubscribe") > before)  # it asks again, and says nothing
        allow(own_server, "hm:t:t:a*", "hm:t:t:b*")
        await eventually_async(lambda: not bus.live.denied)
        sender.send("b1", "again")
        assert await got_b.has(1) == ["again"]
        assert sum("forbids" in record.message for record in caplog.records) == 1


@pytest.fixture
def unheard() -> Live:
    """A connection that is up as far as it knows; what Redis answers the test says."""
    live = Live(Endpoint.parse("unix:///nowhere/redis.sock"), "bruce", Names("t"))
    live.link.state = LinkState.UP
    return live


async def test_an_error_upon_leaving_forbids_nothing(unheard: Live) -> None:
    unheard.listen("c", print)
    unheard.home.link_received(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
    unheard.unlisten("c", print)
    unheard.home.link_received(b"-CLUSTERDOWN The cluster is down\r\n")
    assert (unheard.denied, unheard.home._retrying) == ({}, None)


async def test_what_was_left_before_its_refusal_came_is_not_asked_for_again(unheard: Live) -> None:
    unheard.listen("c", print)
    unheard.unlisten("c", print)
    unheard.home.link_received(b"-NOPERM no\r\n-NOPERM no\r\n")
    assert (unheard.denied, unheard.home._retrying) == ({}, None)


async def test_who_waits_for_a_confirmation_is_told_when_all_is_closed(unheard: Live) -> None:
    unheard.listen("c", print)
    waiting = [asyncio.create_task(unheard.confirmed()), asyncio.create_task(unheard.answered_for({b"c"}))]
    await asyncio.sleep(0)
    await unheard.aclose()
    for one in waiting:
        with pytest.raises(RedisUnavailable, match="closed"):
            await asyncio.wait_for(one, 1)


async def test_a_gap_and_its_end_are_told(own_server: RedisServer) -> None:
    told: list[str] = []
    async with on_bus(own_server.url) as bus:
        bus.live.on_gap = lambda reason: told.append("gap")
        bus.live.on_back = lambda: told.append("back")
        await Collector("x").join(bus)
        bus.live.link.drop("a test")
        await eventually_async(lambda: len(told) == 2)
        assert (told, bus.live.gaps) == (["gap", "back"], 1)


# -- senders that come and go


async def test_a_silent_sender_is_forgotten_but_not_one_that_redis_kept_silent(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders_module, "SILENT", 0.0)
    async with on_bus(own_server.url, "bruce.0") as bruce, on_bus(own_server.url, "alfred.0") as alfred:
        got = await Collector("x").join(bruce)
        alfred.send("x", 1)
        await got.has(1)
        bruce.live.link.drop("a test")
        await bruce.live.link.wait(LinkState.CONNECTING)
        await are_up(bruce)
        bruce.senders.forget_silent()  # the first look after a gap
        assert "alfred.0" in bruce.senders.heard
        bruce.senders.forget_silent()
        assert "alfred.0" not in bruce.senders.heard
        for _ in range(3):
            alfred.send("x", 2)
        await got.has(4)
        assert (got.subscription.ledger.missed, "alfred.0" in bruce.senders.heard) == (0, True)
