"""The outbox: order, bounds, policies, and that a sender learns what became of its messages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.outgoing import OutboxOptions, Policy
from hivemind.bus.queues import weight
from hivemind.errors import (
    HivemindError,
    OutboxFull,
    PayloadError,
    Refused,
    Unconfirmed,
)
from hivemind.message import MAX_PAYLOAD
from hivemind.states import LinkState

from .bus_kit import on_bus
from .conftest import MakeServer
from .proxy import Mode, Proxy
from .servers import Connection, RedisServer
from .waiting import eventually_async

pytestmark = [pytest.mark.timeout(30)]

NOBODY = "unix:///nowhere/redis.sock"  #: nobody answers there: everything is spooled


class Wire:
    """What really passes through a server, in order."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._connection: Connection | None = None

    def listen(self) -> None:
        self.close()
        self._connection = Connection(self.server.socket)
        self._connection.ask("PSUBSCRIBE", "hm:t:t:*")

    async def read(self, count: int) -> list[dict[str, Any]]:
        assert self._connection is not None
        read = self._connection.read
        return [orjson.loads((await asyncio.to_thread(read))[3].encode()) for _ in range(count)]

    async def sequences(self, count: int) -> list[int]:
        return [envelope["s"] for envelope in await self.read(count)]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


@pytest.fixture
def wire(own_server: RedisServer) -> Iterator[Wire]:
    made = Wire(own_server)
    made.listen()
    yield made
    made.close()


@pytest.mark.every_loop
async def test_messages_leave_in_the_order_in_which_they_were_sent(own_server: RedisServer, wire: Wire) -> None:
    async with on_bus(own_server.url) as bus:
        for i in range(1000):
            bus.send("x", {"i": i})
        await bus.flush()
        envelopes = await wire.read(1000)
    assert [envelope["d"]["i"] for envelope in envelopes] == list(range(1000))
    assert [envelope["s"] for envelope in envelopes] == list(range(1, 1001))
    assert (bus.outbox.sent, bus.outbox.waiting) == (1000, 0)


async def test_what_was_sent_before_redis_is_there_leaves_as_soon_as_it_is(own_server: RedisServer, wire: Wire) -> None:
    async with on_bus(own_server.url, up=False) as bus:
        bus.send("x", 1)
        assert await wire.sequences(1) == [1]
        await bus.flush(1.0)


async def test_many_threads_at_once_keep_sequence_order_on_the_wire(own_server: RedisServer, wire: Wire) -> None:
    async with on_bus(own_server.url) as bus:

        def send(number: int) -> None:
            for i in range(500):
                bus.send("x", [number, i])

        await asyncio.gather(*(asyncio.to_thread(send, number) for number in range(8)))
        await bus.flush()
        envelopes = await wire.read(4000)
    assert [envelope["s"] for envelope in envelopes] == list(range(1, 4001))
    for number in range(8):
        assert [i for who, i in (envelope["d"] for envelope in envelopes) if who == number] == list(range(500))


async def test_each_topic_counts_from_one_and_each_life_anew(own_server: RedisServer, wire: Wire) -> None:
    async with on_bus(own_server.url) as bus:
        for topic in ("x", "y", "x"):
            bus.send(topic, 0)
        bus.identify("a.0", bus.incarnation)
        bus.send("x", 0)
        assert bus.outbox.spool.last_sequences() == [{"x": 3, "y": 1}]
        bus.identify("a.0", bus.incarnation + 1)
        bus.send("x", 0)
        await bus.flush()
        assert [envelope["s"] for envelope in await wire.read(5)] == [1, 1, 2, 3, 1]


async def test_a_mebibyte_passes_whole(own_server: RedisServer, wire: Wire) -> None:
    async with on_bus(own_server.url) as bus:
        for letter in "abcde":
            bus.send("x", letter * (MAX_PAYLOAD - 2))
        await bus.flush()
        assert [envelope["d"] for envelope in await wire.read(5)] == [letter * (MAX_PAYLOAD - 2) for letter in "abcde"]


async def test_what_cannot_be_sent_is_not_counted(own_server: RedisServer, wire: Wire) -> None:
    async with on_bus(own_server.url) as bus:
        with pytest.raises(PayloadError):
            bus.send("x", {1})
        assert bus.outbox.sent == 0
        bus.send("x", 1)
        await bus.flush()
        assert [envelope["s"] for envelope in await wire.read(1)] == [1]


async def test_what_is_sent_before_one_has_a_name_is_told_so() -> None:
    bus = Bus(Endpoint.parse(NOBODY), "t", "a.0")
    with pytest.raises(HivemindError, match="before the node is registered"):
        bus.send("x", 1)


async def test_what_was_sent_before_the_start_leaves_after_it(own_server: RedisServer, wire: Wire) -> None:
    bus = Bus(Endpoint.parse(own_server.url), "t", "a.0")
    bus.identify("a.0", 1)
    bus.send("x", 1)
    async with bus:
        await bus.flush(2.0)
    assert await wire.sequences(1) == [1]


async def test_what_is_held_while_one_gets_another_name_is_sent_in_that(own_server: RedisServer, wire: Wire) -> None:
    async with on_bus(own_server.url) as bus:
        bus.outbox.spool.on_new = lambda topic: True
        bus.send("x", 1)
        bus.identify("b.0", bus.incarnation + 1)
        bus.outbox.release(["x"])
        bus.send("x", 2)
        await bus.flush()
        assert [(said["n"], said["s"]) for said in await wire.read(2)] == [("b.0", 1), ("b.0", 2)]
        assert bus.outbox.spool.last_sequences() == [{"x": 2}]


# -- bounds and policies, while nobody answers


@pytest.mark.parametrize("policy", ["block", "raise"])
async def test_on_the_loop_a_full_outbox_raises(policy: Policy) -> None:
    async with on_bus(NOBODY, outbox=OutboxOptions(messages=10, policy=policy), up=False) as bus:
        for _ in range(10):
            bus.send("x", 1)
        with pytest.raises(OutboxFull, match="10 messages"):
            bus.send("x", 1)
        assert (bus.outbox.sent, bus.outbox.waiting) == (10, 10)


async def test_bytes_are_bounded_too() -> None:
    async with on_bus(NOBODY, outbox=OutboxOptions(size=10_000, policy="raise"), up=False) as bus:
        for _ in range(10):
            bus.send("x", "y" * 1000)
        with pytest.raises(OutboxFull, match="bytes"):
            bus.send("x", "y" * 1000)


async def test_on_a_thread_a_full_outbox_raises_if_the_policy_says_so() -> None:
    async with on_bus(NOBODY, outbox=OutboxOptions(messages=1, policy="raise"), up=False) as bus:
        bus.send("x", 1)
        with pytest.raises(OutboxFull, match="policy is 'raise'"):
            await asyncio.to_thread(bus.send, "x", 2)


async def test_a_thread_waits_for_room_and_goes_on_when_redis_is_back(own_server: RedisServer) -> None:
    own_server.stop()
    async with on_bus(own_server.url, outbox=OutboxOptions(messages=10), up=False) as bus:

        def send() -> None:
            for i in range(50):
                bus.send("x", i)

        sending = asyncio.create_task(asyncio.to_thread(send))
        await eventually_async(lambda: bus.outbox.sent == 10)
        assert not sending.done()
        own_server.start()
        await asyncio.wait_for(sending, 5)
        await bus.flush()
        assert (bus.outbox.sent, bus.outbox.waiting, bus.outbox.dropped) == (50, 0, 0)


async def test_a_thread_that_waits_is_told_when_the_outbox_closes() -> None:
    async with on_bus(NOBODY, outbox=OutboxOptions(messages=1), up=False) as bus:
        bus.send("x", 1)
        failed: list[BaseException] = []

        def send() -> None:
            try:
                bus.send("x", 2)
            except OutboxFull as error:
                failed.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        await bus.aclose()
        thread.join(5)
        assert "closed" in str(failed[0])


async def test_the_oldest_is_dropped_and_counted_if_the_policy_says_so(own_server: RedisServer, wire: Wire) -> None:
    own_server.stop()
    async with on_bus(own_server.url, outbox=OutboxOptions(messages=10, policy="drop-oldest"), up=False) as bus:
        for i in range(100):
            bus.send("x", i)
        assert (bus.outbox.dropped, bus.outbox.waiting) == (90, 10)
        own_server.start()
        wire.listen()
        await bus.flush()
        assert [envelope["d"] for envelope in await wire.read(10)] == list(range(90, 100))
        assert bus.outbox.waiting == 0


async def test_large_messages_push_out_as_many_small_ones_as_they_need() -> None:
    async with on_bus(NOBODY, outbox=OutboxOptions(size=20_000, policy="drop-oldest"), up=False) as bus:
        for _ in range(100):
            bus.send("x", "small")
        bus.notify("node", {"event": "joined"})
        for _ in range(20):
            bus.send("x", "y" * 5_000)
        assert bus.outbox.spool.size == weight(bus.outbox.spool.queued())
        assert bus.outbox.spool.size < 26_000
        assert bus.outbox.dropped + bus.outbox.waiting == 120


async def test_a_flush_is_not_satisfied_by_the_dropping_of_later_messages(own_server: RedisServer) -> None:
    async with (
        Proxy(own_server.socket) as proxy,
        on_bus(f"redis://127.0.0.1:{proxy.port}", outbox=OutboxOptions(messages=10, policy="drop-oldest")) as bus,
    ):
        proxy.set(Mode.BLACKHOLE)
        bus.send("x", "under way")
        await eventually_async(lambda: not bus.outbox.spool)
        flushing = asyncio.create_task(bus.outbox.flush(5.0))
        for i in range(50):
            bus.send("x", i)
            await asyncio.sleep(0)
        assert not flushing.done()
        proxy.set(Mode.PASS)
        await asyncio.wait_for(flushing, 5)


async def test_a_flush_ends_when_what_it_waited_for_was_dropped() -> None:
    async with on_bus(NOBODY, outbox=OutboxOptions(messages=5, policy="drop-oldest"), up=False) as bus:
        bus.send("x", 0)
        flushing = asyncio.create_task(bus.outbox.flush(5.0))
        await asyncio.sleep(0)
        for i in range(5):
            bus.send("x", i)
        await asyncio.wait_for(flushing, 1)


async def test_draining_waits_until_half_of_the_outbox_is_free(own_server: RedisServer) -> None:
    own_server.stop()
    async with on_bus(own_server.url, outbox=OutboxOptions(messages=10), up=False) as bus:
        for i in range(10):
            bus.send("x", i)
        draining = asyncio.create_task(bus.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        own_server.start()
        await asyncio.wait_for(draining, 5)
        assert bus.outbox.waiting <= 5


async def test_draining_gives_the_loop_a_turn_even_when_there_is_room() -> None:
    async with on_bus(NOBODY, up=False) as bus:
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        await bus.drain()
        assert turns == [1]


async def test_who_drains_or_flushes_is_told_when_the_outbox_closes() -> None:
    async with on_bus(NOBODY, outbox=OutboxOptions(messages=2), up=False) as bus:
        bus.send("x", 1)
        bus.send("x", 2)
        draining, flushing = asyncio.create_task(bus.drain()), asyncio.create_task(bus.outbox.flush(5.0))
        await asyncio.sleep(0)
        await bus.aclose()
        await asyncio.wait_for(draining, 1)
        with pytest.raises(Unconfirmed):
            await asyncio.wait_for(flushing, 1)


# -- what a sender learns


async def test_without_an_answer_in_time_the_messages_are_named() -> None:
    async with on_bus(NOBODY, up=False) as bus:
        bus.send("x", 1)
        bus.send("y", 2)
        with pytest.raises(Unconfirmed, match=r"for 2 messages within 0\.05 s") as caught:
            await bus.flush(0.05)
        assert [(one.topic, one.sequence) for one in caught.value.messages] == [("x", 1), ("y", 1)]


async def test_what_redis_refuses_is_named_and_the_rest_arrives(own_server: RedisServer, wire: Wire) -> None:
    own_server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "resetchannels", "&hm:t:t:ok*")
    async with on_bus(f"unix://bob:pw@{own_server.socket}") as bus:
        for topic in ("ok1", "no", "ok2", "no"):
            bus.send(topic, topic)
        with pytest.raises(Refused, match=r"2 message.*'no'.*permission") as caught:
            await bus.flush()
        assert [(one.topic, one.sequence) for one in caught.value.messages] == [("no", 1), ("no", 2)]
        assert [envelope["d"] for envelope in await wire.read(2)] == ["ok1", "ok2"]
        assert (bus.outbox.refused, bus.outbox.waiting) == (2, 0)
        bus.send("ok1", "again")
        await bus.flush()


async def test_a_lost_connection_sends_again_what_was_unanswered_and_only_that(
    own_server: RedisServer, wire: Wire
) -> None:
    async with Proxy(own_server.socket) as proxy, on_bus(f"redis://127.0.0.1:{proxy.port}") as bus:
        bus.send("x", "answered")
        await bus.flush()
        proxy.set(Mode.EAT_REPLIES)
        bus.send("x", "unanswered")
        assert await wire.sequences(2) == [1, 2]
        proxy.set(Mode.PASS)
        proxy.cut()
        await bus.flush()
        assert await wire.sequences(1) == [2]


async def test_what_a_guard_kept_back_leaves_when_it_changes_its_mind(own_server: RedisServer) -> None:
    async with on_bus(own_server.url) as bus:
        bus.outbox.guard = lambda: False
        bus.send("x", 1)
        with pytest.raises(Unconfirmed):
            await bus.flush(0.05)
        bus.outbox.guard = None
        bus.outbox.resume()
        await bus.flush(1.0)


async def test_an_outbox_without_the_right_to_ping_still_sends(own_server: RedisServer) -> None:
    own_server.command("ACL", "SETUSER", "bob", "on", ">pw", "allchannels", "+publish", "+time", "+subscribe")
    async with on_bus(f"unix://bob:pw@{own_server.socket}") as bus:
        bus.send("x", 1)
        await bus.flush(2.0)
        assert bus.outbox.link.state is LinkState.UP


async def test_a_full_memory_stops_no_message(make_server: MakeServer) -> None:
    server = make_server()
    async with on_bus(server.url) as bus:
        server.command("CONFIG", "SET", "maxmemory", "1")
        bus.send("x", 1)
        await bus.flush(2.0)
        assert bus.outbox.refused == 0


async def test_what_was_sent_last_is_told_of_every_topic_used_since_however_many(own_server: RedisServer) -> None:
    async with on_bus(own_server.url) as bus:
        for number in range(2500):
            bus.send(f"t.{number}", 0)
        told = bus.outbox.spool.last_sequences()
        assert [len(portion) for portion in told] == [1000, 1000, 500]
        bus.send("t.0", 0)
        (last,) = bus.outbox.spool.last_sequences()
        assert next(iter(last.items())) == ("t.0", 2)
