"""Resolved patterns: Redis holds exact topics only, and nothing is missed, whoever comes first."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.outgoing import OutboxOptions
from hivemind.data.announcer import announce
from hivemind.data.directory import Directory
from hivemind.errors import OutboxFull, Unconfirmed
from hivemind.patterns import PatternTable
from hivemind.topics import matches

from .bus_kit import Collector, passes
from .patterns_kit import Resident, patterns_in, resident, stored
from .servers import RedisServer
from .waiting import eventually_async

PATTERNS = ["*", "a*", "*a", "a.?", "a.[abc]", "a.[!a]", "a.[b-d]*", "[a-c].?", "a.b", "?.b", "x*y*z", "[^x]*"]
TOPICS = ["a", "b", "a.a", "a.b", "a.c", "a.d1", "b.b", "x-y-z", "xyz", "c.c", "zz/a", "A.b", "a.-", "x"]


@given(st.lists(st.sampled_from(PATTERNS), unique=True), st.text("abcxyz.-", min_size=1, max_size=6))
def test_a_table_of_patterns_finds_those_that_match(patterns: list[str], topic: str) -> None:
    table: PatternTable[str] = PatternTable()
    for pattern in PATTERNS:
        table.add(pattern, pattern)
    for pattern in set(PATTERNS) - set(patterns):
        table.remove(pattern, pattern)
    assert sorted(table.of(topic)) == sorted(one for one in patterns if matches(one, topic))


@pytest.mark.every_server
async def test_both_modes_deliver_the_same(own_server: RedisServer) -> None:
    async with resident(own_server.url, "t", "bruce.0") as bruce, resident(own_server.url, "t", "alfred.0") as alfred:
        resolved = [await Collector(one).join(bruce.bus) for one in (*PATTERNS, *PATTERNS)]
        assert patterns_in(own_server) == 0
        bruce.bus.resolver = None
        asked = [await Collector(one).join(bruce.bus) for one in PATTERNS]
        for number, topic in enumerate(TOPICS * 3):
            alfred.bus.send(topic, number)
        await alfred.bus.flush()
        await passes(0.05)
        await asked[0].has(len(TOPICS) * 3)
        for one, other in zip(resolved, [*asked, *asked], strict=True):
            await one.has(len(other.handled))
            assert sorted(one.handled) == sorted(other.handled)
            assert one.subscription.ledger.missed == 0


@contextlib.asynccontextmanager
async def two(server: RedisServer, pattern: str = "n.*") -> AsyncIterator[tuple[Resident, Resident, Collector]]:
    """Who receives, who sends, and what is received by ``pattern``."""
    async with resident(server.url, "t", "bruce.0") as bruce, resident(server.url, "t", "alfred.0") as alfred:
        yield bruce, alfred, await Collector(pattern).join(bruce.bus)


@pytest.mark.every_server
async def test_the_first_message_on_a_new_topic_reaches_who_is_there(own_server: RedisServer) -> None:
    async with two(own_server) as (_, alfred, got):
        for number in range(100):
            alfred.bus.send(f"n.{number}", number)
            await got.has(number + 1)
        assert got.sequences == [1] * 100
        assert got.subscription.ledger.missed == 0


@pytest.mark.every_server
async def test_topics_by_the_thousand_are_announced_together_and_none_is_missed(own_server: RedisServer) -> None:
    async with two(own_server) as (_, alfred, got):
        for number in range(5000):
            alfred.bus.send(f"n.{number}", number)
            alfred.bus.send(f"n.{number}", -number)
        await alfred.bus.flush(20)
        await got.has(10_000, 20)
        assert sorted(got.payloads) == sorted([*range(5000), *(-n for n in range(5000))])
        order: dict[str, list[int]] = {}
        for topic, _, sequence, _ in got.handled:
            order.setdefault(topic, []).append(sequence)
        assert set(map(tuple, order.values())) == {(1, 2)}


@pytest.mark.every_server
async def test_who_subscribes_while_a_topic_is_announced_misses_nothing_from_then_on(own_server: RedisServer) -> None:
    async with resident(own_server.url, "t", "bruce.0") as bruce, resident(own_server.url, "t", "alfred.0") as alfred:
        for turn in range(60):
            topic = f"race.{turn}"
            joining = asyncio.create_task(Collector(f"race.{turn}*").join(bruce.bus))
            for _ in range(turn % 12):
                await asyncio.sleep(0)
            alfred.bus.send(topic, "first")
            got = await joining
            alfred.bus.send(topic, "after")
            await eventually_async(lambda got=got: "after" in got.payloads)  # type: ignore[misc]
            assert got.subscription.ledger.missed == 0


async def test_one_channel_serves_all_subscriptions_of_a_process_and_goes_with_the_last(
    own_server: RedisServer,
) -> None:
    async with two(own_server) as (bruce, alfred, got):
        more = [await Collector(one).join(bruce.bus) for one in ("n.*", "n.[a-z]", "*", "n.x")]
        alfred.bus.send("n.x", 1)
        for each in (got, *more):
            assert await each.has(1) == [1]
        channel = bruce.bus.names.live("n.x")
        assert own_server.command("PUBSUB", "NUMSUB", channel) == [channel, 1]
        for each in (got, *more):
            bruce.bus.live.remove(each.subscription)
        await eventually_async(lambda: own_server.command("PUBSUB", "NUMSUB", channel) == [channel, 0])


async def test_a_subscription_of_a_topic_without_wildcards_asks_nobody(own_server: RedisServer) -> None:
    async with two(own_server, "plain") as (_, alfred, got):
        alfred.bus.send("plain", 1)
        await got.has(1)
        assert stored(own_server, "t", "resolvers") == {}


@pytest.mark.every_server
async def test_redis_losing_its_data_costs_no_message_and_everybody_enters_again(own_server: RedisServer) -> None:
    async with two(own_server) as (bruce, alfred, got):
        alfred.bus.send("n.1", 1)
        await got.has(1)
        own_server.command("FLUSHALL")
        alfred.bus.send("n.1", 2)
        await got.has(2)
        await bruce.join_again()
        await alfred.join_again()
        await eventually_async(lambda: own_server.command("ZCARD", "hm:{t}:topics") == 1)
        await eventually_async(lambda: "bruce.0" in stored(own_server, "t", "resolvers"))
        async with resident(own_server.url, "t", "late.0") as late:
            new = await Collector("n.?").join(late.bus)
            alfred.bus.send("n.2", 3)
            alfred.bus.send("n.1", 4)
            assert sorted((await got.has(4))[2:]) == [3, 4]
            assert sorted(await new.has(2)) == [3, 4]
        assert own_server.command("GET", "hm:{t}:patterns") == "resolved"


@pytest.mark.parametrize(
    "loss", [["DEL", "hm:{t}:topics"], ["SET", "hm:{t}:topics", "x"], ["ZREM", "hm:{t}:topics", "n.1"]]
)
async def test_topics_that_the_directory_has_lost_are_announced_again_whoever_else_announces(
    own_server: RedisServer, loss: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivemind.data.announcer.CHECK", 0.3)
    async with two(own_server) as (_, alfred, got), resident(own_server.url, "t", "clark.0") as clark:
        alfred.bus.send("n.1", 1)
        await got.has(1)
        own_server.command(*loss)
        for number in range(30):  # also while there is always something new
            clark.bus.send(f"n.clark.{number}", 0)
            alfred.bus.send(f"n.alfred.{number}", 0)
            await passes(0.02)
        assert "n.1" in own_server.command("ZRANGE", "hm:{t}:topics", 0, -1)


async def test_what_was_sent_before_a_subscription_is_not_missed_when_its_topic_is_announced_once_more(
    own_server: RedisServer,
) -> None:
    async with resident(own_server.url, "t", "alfred.0", ["n.1"]) as alfred:
        for number in range(100):
            alfred.bus.send("n.1", number)
        await alfred.bus.flush()
        own_server.command("FLUSHALL")
        async with resident(own_server.url, "t", "bruce.0") as bruce:
            got = await Collector("n.*").join(bruce.bus)
            await passes(0.01)
            await alfred.join_again()
            await eventually_async(lambda: own_server.command("ZCARD", "hm:{t}:topics") == 1)
            channel = bruce.bus.names.live("n.1")
            await eventually_async(lambda: own_server.command("PUBSUB", "NUMSUB", channel) == [channel, 1])
            alfred.bus.send("n.1", "after")
            await got.has(1)
            await alfred.bus.flush()
            assert got.subscription.ledger.missed == 0


async def test_a_topic_that_is_added_by_hand_is_new_to_nobody(own_server: RedisServer) -> None:
    async with two(own_server) as (bruce, _, got):
        await passes(0.01)
        await announce(Directory(bruce.bus.commands, bruce.bus.functions, bruce.bus.names), ["n.1"])
        assert got.subscription.ledger.new_topics == set()


@pytest.mark.every_server
async def test_links_cut_while_topics_are_announced_cost_only_what_was_under_way(own_server: RedisServer) -> None:
    async with two(own_server) as (_, alfred, got):
        for turn in range(10):
            for number in range(50):
                alfred.bus.send(f"n.{turn}.{number}", turn)
            await asyncio.to_thread(own_server.command, "CLIENT", "KILL", "TYPE", "pubsub" if turn % 2 else "normal")
        await alfred.bus.flush(20)
        for number in range(50):
            alfred.bus.send(f"n.last.{number}", "last")
            alfred.bus.send(f"n.0.{number}", "again")
        await alfred.bus.flush(20)
        await eventually_async(lambda: got.payloads.count("last") == 50 and got.payloads.count("again") == 50, 10)
        assert got.subscription.ledger.duplicate <= 500
        assert len({(topic, number) for topic, _, number, _ in got.handled}) == len(got.handled)


async def test_a_lost_notice_is_found_out(own_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind.data.resolver.CHECK", 0.2)
    async with two(own_server) as (bruce, alfred, got):
        bruce.bus.live.unlisten(bruce.bus.names.control("topics"), bruce.resolution._resolver._heard)
        alfred.bus.send("n.1", 1)
        assert await got.has(1) == [1]


# -- holding


@pytest.fixture
def absent(own_server: RedisServer) -> Iterator[None]:
    """An instance that resolves ``slow.*``, lives, and never says how far it is."""
    own_server.command("HSET", "hm:{t}:node:absent.0", "incarnation", "1")
    own_server.command("HSET", "hm:{t}:resolvers", "absent.0", '{"incarnation": 1, "patterns": ["slow.*"]}')
    own_server.command("HSET", "hm:{t}:resolved", "absent.0", "0")
    yield
    own_server.command("DEL", "hm:{t}:node:absent.0")


@pytest.mark.every_server
async def test_who_does_not_answer_delays_a_new_topic_for_a_second_and_no_other(
    own_server: RedisServer, absent: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(own_server, "*") as (_, alfred, got):
        began = time.monotonic()
        alfred.bus.send("slow.1", "slow")
        alfred.bus.send("quick", "quick")
        assert await got.has(1) == ["quick"]
        assert time.monotonic() - began < 0.5
        assert alfred.bus.outbox.waiting == 1
        assert await got.has(2) == ["quick", "slow"]
        assert 0.9 < time.monotonic() - began < 1.6
        assert "absent.0" in caplog.text
        alfred.bus.send("slow.1", "quick again")
        began = time.monotonic()
        await got.has(3)
        assert time.monotonic() - began < 0.3


async def test_nobody_waits_for_the_dead(own_server: RedisServer, absent: None) -> None:
    own_server.command("DEL", "hm:{t}:node:absent.0")
    async with two(own_server, "*") as (_, alfred, got):
        alfred.bus.send("slow.1", 1)
        await got.has(1, 0.5)


@pytest.mark.every_server
async def test_flush_waits_for_what_is_held(own_server: RedisServer, absent: None) -> None:
    async with two(own_server, "*") as (_, alfred, got):
        alfred.bus.send("slow.1", "held")
        with pytest.raises(Unconfirmed) as caught:
            await alfred.bus.flush(0.2)
        assert [(one.topic, one.sequence) for one in caught.value.messages] == [("slow.1", 1)]
        await alfred.bus.flush(5)
        assert await got.has(1) == ["held"]
        assert alfred.bus.outbox.waiting == 0


async def test_what_is_held_keeps_its_order_and_numbers(own_server: RedisServer, absent: None) -> None:
    async with two(own_server, "*") as (_, alfred, got):
        for number in range(1000):
            alfred.bus.send("slow.1", number)
            alfred.bus.send("quick", -number)
        await alfred.bus.flush()
        await got.has(2000)
        assert [payload for topic, *_, payload in got.handled if topic == "slow.1"] == list(range(1000))
        assert [number for topic, _, number, _ in got.handled if topic == "slow.1"] == list(range(1, 1001))
        assert (got.subscription.ledger.missed, got.subscription.ledger.duplicate) == (0, 0)


async def test_held_messages_count_against_the_limits(own_server: RedisServer, absent: None) -> None:
    few = OutboxOptions(messages=10)
    async with resident(own_server.url, "t", "alfred.0", outbox=few) as alfred:
        for number in range(10):
            alfred.bus.send("slow.1", number)
        with pytest.raises(OutboxFull):
            alfred.bus.send("quick", "no room")
        await alfred.bus.drain()
        alfred.bus.send("quick", "room")
        await alfred.bus.flush()


async def test_a_full_outbox_drops_the_oldest_that_are_held_and_receivers_miss_them(
    own_server: RedisServer, absent: None
) -> None:
    few = OutboxOptions(messages=10, policy="drop-oldest")
    async with resident(own_server.url, "t", "bruce.0") as bruce:
        got = await Collector("slow.*").join(bruce.bus)
        async with resident(own_server.url, "t", "alfred.0", outbox=few) as alfred:
            for number in range(25):
                alfred.bus.send("slow.1", number)
            assert (alfred.bus.outbox.waiting, alfred.bus.outbox.dropped) == (10, 15)
            await alfred.bus.flush()
            assert await got.has(10) == list(range(15, 25))
            assert (got.subscription.ledger.missed, got.sequences) == (15, list(range(16, 26)))


async def test_what_is_dropped_while_it_is_held_is_told_on_every_topic(own_server: RedisServer, absent: None) -> None:
    few = OutboxOptions(messages=50, policy="drop-oldest")
    async with resident(own_server.url, "t", "bruce.0") as bruce:
        got = await Collector("slow.*").join(bruce.bus)
        async with resident(own_server.url, "t", "alfred.0", outbox=few) as alfred:
            for number in range(3000):
                alfred.bus.send(f"slow.{number}", number)
            await alfred.bus.flush()
            await got.has(50)
            await alfred.bus.tell_last()
            await eventually_async(lambda: got.subscription.ledger.missed == 2950)


@pytest.mark.parametrize("score", ["inf", "1e18", "9007199254740991", "1e14"])
async def test_a_version_that_cannot_be_holds_nobody(own_server: RedisServer, score: str) -> None:
    own_server.command("ZADD", "hm:{t}:topics", score, "stranger")
    async with two(own_server) as (_, alfred, got):
        began = time.monotonic()
        for number in range(5):
            alfred.bus.send(f"n.{number}", number)
            await alfred.bus.flush(5)
        assert time.monotonic() - began < 1.0
        assert sorted(await got.has(5)) == list(range(5))
        assert got.subscription.ledger.missed == 0


async def test_a_failure_of_ours_holds_no_topic_for_long(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(own_server) as (_, alfred, got):

        async def fails(*_: object) -> int:
            raise ValueError("a fault")

        monkeypatch.setattr("hivemind.data.directory.Directory.announce", fails)
        alfred.bus.send("n.1", 1)
        await alfred.bus.flush(5)
        assert await got.has(1) == [1]


async def test_nothing_is_held_for_long_while_the_directory_comes_and_goes(
    own_server: RedisServer, absent: None
) -> None:
    async with two(own_server, "*") as (_, alfred, got):
        alfred.bus.send("slow.1", 1)
        began = time.monotonic()
        while not got.handled and time.monotonic() < began + 5.0:
            await asyncio.to_thread(own_server.command, "DEL", "hm:{t}:topics")
            await passes(0.1)
        assert got.payloads == [1]
        assert time.monotonic() - began < 2.0


async def test_what_a_thread_sends_is_held_too(own_server: RedisServer, absent: None) -> None:
    async with two(own_server, "*") as (_, alfred, got):

        def work() -> None:
            for number in range(200):
                alfred.bus.send(f"slow.{number % 4}", number)

        await asyncio.to_thread(work)
        await alfred.bus.flush()
        await got.has(200)
        assert all([n for t, *_, n in got.handled if t == f"slow.{k}"] == [*range(k, 200, 4)] for k in range(4))


@pytest.mark.every_server
async def test_while_redis_is_away_new_topics_wait_and_are_announced_when_it_is_back(own_server: RedisServer) -> None:
    async with two(own_server) as (_, alfred, got):
        await asyncio.to_thread(own_server.stop)
        for number in range(20):
            alfred.bus.send(f"n.{number}", number)
        await passes(1.5)
        assert alfred.bus.outbox.waiting == 20
        await asyncio.to_thread(own_server.start)
        await alfred.bus.flush(10)
        assert sorted(await got.has(20)) == list(range(20))


async def test_a_redis_that_takes_no_writes_silences_nobody(own_server: RedisServer) -> None:
    own_server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "&*", "+@all")
    url = f"unix://bob:pw@{own_server.socket}"
    async with resident(own_server.url, "t", "bruce.0") as bruce, resident(url, "t", "alfred.0") as alfred:
        got = await Collector("n.*").join(bruce.bus)
        own_server.command("ACL", "SETUSER", "bob", "-fcall", "-eval")
        alfred.bus.send("n.1", 1)
        assert await got.has(1) == [1]


async def test_who_leaves_is_waited_for_no_longer(own_server: RedisServer) -> None:
    async with two(own_server) as (bruce, _, _):
        assert "bruce.0" in stored(own_server, "t", "resolvers")
        await bruce.leave()
        assert stored(own_server, "t", "resolvers") == stored(own_server, "t", "resolved") == {}
