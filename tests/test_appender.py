"""The sending half of durable topics, on a real server that is killed, full, emptied and cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.appender import AT_ONCE, BodySpool, DurableOutbox, parts
from hivemind.bus.bus import Bus
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Home
from hivemind.cancelling import end
from hivemind.errors import Refused, Unconfirmed
from hivemind.message import encode_payload
from hivemind.states import LinkState
from hivemind.topics import Names

from .proxy import Mode, Proxy
from .servers import RedisServer
from .waiting import eventually_async


@contextlib.asynccontextmanager
async def sending(url: str, hive: str = "t") -> AsyncIterator[DurableOutbox]:
    endpoint, names = Endpoint.parse(url), Names(hive)
    async with Commands(endpoint) as commands:
        outbox = DurableOutbox(Home(endpoint, "hm:a.0:keep", names, Functions(commands)), BodySpool(names))
        outbox.spool.identify("a.0", 1)
        outbox.start()
        try:
            yield outbox
        finally:
            await outbox.aclose()


async def numbers(url: str, topic: str, hive: str = "t") -> list[int]:
    """The payloads that are in a stream."""
    async with Commands(Endpoint.parse(url)) as commands:
        entries = await commands.execute("XRANGE", Names(hive).stream(topic), "-", "+")
    return [orjson.loads(fields[1])["d"] for _, fields in entries]


def send(outbox: DurableOutbox, *payloads: int, topic: str = "n") -> None:
    for payload in payloads:
        outbox.send(topic, encode_payload(payload))


async def test_what_is_sent_is_in_the_stream_in_order(server: RedisServer, hive_name: str) -> None:
    async with sending(server.url, hive_name) as outbox:
        send(outbox, *range(3000))
        send(outbox, 1, 2, topic="other")
        await outbox.flush(5.0)
        assert outbox.waiting == 0
    assert await numbers(server.url, "n", hive_name) == list(range(3000))
    assert await numbers(server.url, "other", hive_name) == [1, 2]


async def test_what_is_sent_while_redis_is_away_is_appended_once_when_it_is_back(own_server: RedisServer) -> None:
    async with sending(own_server.url) as outbox:
        send(outbox, 0)
        await outbox.flush(5.0)
        own_server.kill()
        send(outbox, *range(1, 500))
        with pytest.raises(Unconfirmed):
            await outbox.flush(0.2)
        own_server.start()
        await outbox.flush(10.0)
    assert (await numbers(own_server.url, "n"))[-499:] == list(range(1, 500))


async def test_a_batch_whose_answer_was_lost_is_there_once(server: RedisServer, hive_name: str) -> None:
    async with Proxy(server.socket) as proxy, sending(f"redis://127.0.0.1:{proxy.port}", hive_name) as outbox:
        send(outbox, 0)
        await outbox.flush(5.0)
        proxy.set(Mode.EAT_REPLIES)
        send(outbox, *range(1, 1500))
        await eventually_async(lambda: proxy.eaten > 0)
        proxy.set(Mode.PASS)
        proxy.cut()
        await outbox.flush(10.0)
    assert await numbers(server.url, "n", hive_name) == list(range(1500))


async def test_a_lie_about_what_was_appended_loses_nothing(server: RedisServer, hive_name: str) -> None:
    async with sending(server.url, hive_name) as outbox, Commands(Endpoint.parse(server.url)) as commands:
        send(outbox, 0)
        await outbox.flush(5.0)
        await commands.execute("HSET", Names(hive_name).producers("n"), "a.0", "1:900719925474099")
        send(outbox, *range(1, 2500))
        await outbox.flush(5.0)
    assert await numbers(server.url, "n", hive_name) == list(range(2500))


async def test_redis_out_of_memory_holds_all_back_and_nothing_is_lost(own_server: RedisServer) -> None:
    async with sending(own_server.url) as outbox, Commands(Endpoint.parse(own_server.url)) as commands:
        send(outbox, 0)
        await outbox.flush(5.0)
        await commands.execute("CONFIG", "SET", "maxmemory", "1")
        send(outbox, 1, 2)
        await eventually_async(lambda: "OOM" in outbox.carrier.refusal)
        assert outbox.waiting == 2
        assert outbox.link.state is LinkState.UP
        await commands.execute("CONFIG", "SET", "maxmemory", "0")
        await outbox.flush(5.0)
    assert await numbers(own_server.url, "n") == [0, 1, 2]


async def test_a_flush_says_what_redis_refused_and_that_is_never_sent(own_server: RedisServer) -> None:
    async with sending(own_server.url) as outbox, Commands(Endpoint.parse(own_server.url)) as commands:
        await commands.execute("CONFIG", "SET", "maxmemory", "1")
        send(outbox, 1, 2)
        with pytest.raises(Refused, match="memory"):
            await outbox.flush(1.2)
        assert outbox.waiting == 0
        await commands.execute("CONFIG", "SET", "maxmemory", "0")
        send(outbox, 3)
        await outbox.flush(5.0)
    assert await numbers(own_server.url, "n") == [3]


async def test_the_functions_are_loaded_again_where_they_were_flushed(own_server: RedisServer) -> None:
    async with sending(own_server.url) as outbox, Commands(Endpoint.parse(own_server.url)) as commands:
        send(outbox, 1)
        await outbox.flush(5.0)
        await commands.execute("FUNCTION", "FLUSH")
        send(outbox, 2)
        await outbox.flush(5.0)
    assert await numbers(own_server.url, "n") == [1, 2]


async def test_while_memory_comes_and_goes_nothing_passes_what_was_refused(own_server: RedisServer) -> None:
    async with sending(own_server.url) as outbox, Commands(Endpoint.parse(own_server.url)) as commands:

        async def come_and_go() -> None:
            while True:
                for most in (1, 0):
                    await commands.execute("CONFIG", "SET", "maxmemory", most)

        weather = asyncio.create_task(come_and_go())
        for first in range(0, 12_000, 4000):
            send(outbox, *range(first, first + 4000))
            await asyncio.sleep(0)
        await eventually_async(lambda: outbox.waiting < 6000, 60.0)
        await end(weather)
        await commands.execute("CONFIG", "SET", "maxmemory", 0)
        await outbox.flush(10.0)
    assert await numbers(own_server.url, "n") == list(range(12_000))


async def test_a_redis_that_comes_back_with_less_than_it_had_taken_is_found_out(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(own_server.url) as outbox, Commands(Endpoint.parse(own_server.url)) as commands:
        send(outbox, 1, 2, 3, 4)
        await outbox.flush(5.0)
        names = Names("t")
        await commands.execute("HSET", names.producers("n"), "a.0", "1:2")  # as its file had it
        entries = await commands.execute("XRANGE", names.stream("n"), "-", "+")
        await commands.execute("XDEL", names.stream("n"), entries[2][0], entries[3][0])
        send(outbox, 5)
        await outbox.flush(5.0)
    assert await numbers(own_server.url, "n") == [1, 2, 5]
    assert "it has lost 2 messages of n that it had taken" in caplog.text


@given(st.sets(st.integers(1, 5000), max_size=50))
def test_no_call_has_messages_with_a_gap_between_them(dropped: set[int]) -> None:
    pile = [(b"", "n", number, number) for number in range(1, 3500) if number not in dropped]
    calls = list(parts(pile))
    assert [entry for call in calls for entry in call] == pile
    for call in calls:
        assert 0 < len(call) <= AT_ONCE
        assert call[-1][2] - call[0][2] == len(call) - 1


async def test_what_is_refused_is_told_also_when_live_messages_are_late(own_server: RedisServer) -> None:
    async with Bus(Endpoint.parse(own_server.url), "t", "a.0") as bus:
        bus.identify("a.0", 1)
        bus.keep("n")
        bus.outbox.guard = lambda: False  # nothing live leaves
        own_server.command("CONFIG", "SET", "maxmemory", 1)
        bus.send("n", 1)
        bus.send("live", 2)
        with pytest.raises(Refused) as refused:
            await bus.flush(1.0)
        assert [one.topic for one in refused.value.messages] == ["n"]
        own_server.command("CONFIG", "SET", "maxmemory", 0)
        bus.outbox.guard = lambda: True
        bus.outbox.resume()
        await bus.flush(5.0)
        assert await numbers(own_server.url, "n") == []
