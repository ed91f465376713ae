"""Filling what passed by while Redis is away, refuses, has lost it, or has garbage: bounded, and never in the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from hivemind.bus import filling
from hivemind.bus.bus import Bus
from hivemind.bus.inbox import InboxLimits
from hivemind.data.kept_watch import KeptWatch

from .bus_kit import Collector, are_up, is_in_order, on_bus
from .clusters import Cluster
from .kept_kit import Listener, counts, keep, keeper, last_of, listener, send, sending
from .patterns_kit import Resident, resident
from .servers import RedisServer
from .waiting import eventually_async

pytestmark = [pytest.mark.every_server, pytest.mark.timeout(60)]

Gap = tuple[str, str, int, int]


def gaps_of(got: Collector) -> list[Gap]:
    """What its ledger tells of gaps from now on."""
    gaps: list[Gap] = []
    got.subscription.ledger.on_gap = lambda *gap: gaps.append(gap)
    return gaps


def hesitate(bruce: Listener) -> asyncio.Event:
    """Let nothing be filled until what is returned is set: which topics are kept is not known for certain."""
    assert bruce.bus.filler is not None
    sure = bruce.bus.filler.kept.sure
    sure.clear()
    return sure


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "KNOWING", 30.0)


@contextlib.asynccontextmanager
async def deaf(bruce: Listener, got: Collector) -> AsyncIterator[None]:
    """What is sent on ``x`` meanwhile passes by, though no connection is lost."""
    live = bruce.bus.live
    live.home.leave(b"hm:t:t:x", got.subscription)
    await live.fence()
    yield
    live.home.join(b"hm:t:t:x", got.subscription)
    await live.confirmed(got.subscription)


async def lose_then_hear(bruce: Listener, alfred: Bus, got: Collector, lost: Sequence[int], *then: int) -> None:
    """Handle message 0, lose some, and hear others, of which the first is not handled yet."""
    await send(alfred, "x", [0])
    await got.has(1)
    async with deaf(bruce, got):
        await send(alfred, "x", lost)
    hesitate(bruce)
    await send(alfred, "x", then)
    await eventually_async(lambda: got.subscription.ledger.received > len(then))


async def test_redis_that_restarts_while_a_gap_is_filled_delays_it_only(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        await lose_then_hear(bruce, alfred, got, [1, 2], 3)
        assert got.payloads == [0]
        await asyncio.to_thread(own_server.restart, keep_data=True)
        hesitate(bruce).set()
        assert await got.has(4) == [0, 1, 2, 3]
        assert counts(got) == {"filled": 2}


async def test_when_redis_stays_away_it_is_a_gap_and_what_waited_goes_on(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "PATIENCE", 0.3)
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        gaps = gaps_of(got)
        await lose_then_hear(bruce, alfred, got, [1, 2], 3, 4)
        await asyncio.to_thread(own_server.stop)
        hesitate(bruce).set()
        assert await got.has(3) == [0, 3, 4]
        assert (gaps, counts(got)) == ([("x", "alfred.0", 2, 3)], {"missed": 2})


@pytest.mark.parametrize("harm", [("SET", "hm:t:s:{x}", "garbage"), ("ACL", "SETUSER", "default", "-xrevrange")])
async def test_what_redis_does_not_let_us_read_is_missed_at_once(
    own_server: RedisServer, harm: tuple[str, ...]
) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        await lose_then_hear(bruce, alfred, got, [1, 2], 3)
        own_server.command(*harm)
        hesitate(bruce).set()
        assert await got.has(2, within=2.0) == [0, 3]
        assert counts(got) == {"missed": 2}


async def test_what_waits_for_a_gap_is_bounded_as_the_inbox_and_the_oldest_is_dropped(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await Collector("x", limits=InboxLimits(messages=10)).join(bruce.bus)
        await lose_then_hear(bruce, alfred, got, [1], *range(2, 22))
        assert got.subscription.inbox.dropped == 10
        hesitate(bruce).set()
        assert await got.has(11) == [0, *range(12, 22)]
        assert (got.subscription.inbox.dropped, counts(got)) == (11, {"filled": 1})


async def test_more_than_an_inbox_holds_is_not_filled_in_but_the_newest_of_it(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await Collector("x", limits=InboxLimits(messages=50)).join(bruce.bus)
        gaps = gaps_of(got)
        await lose_then_hear(bruce, alfred, got, range(1, 201), 201)
        hesitate(bruce).set()
        assert await got.has(51) == [0, *range(152, 202)]
        assert (gaps, counts(got)) == ([("x", "alfred.0", 2, 151)], {"filled": 50, "missed": 150})


async def test_a_burst_of_gaps_costs_few_reads(own_server: RedisServer) -> None:
    """Every other message is lost on the way: two thousand gaps, faster than they can be filled."""
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        async with deaf(bruce, got):
            await send(alfred, "x", list(range(1, 4001)))
        for _, (_, body) in own_server.command("XRANGE", "hm:t:s:{x}", "-", "+")[1::2]:
            own_server.command("PUBLISH", "hm:t:t:x", body)
        await got.has(4000)
        assert got.sequences == list(range(1, 4001))
        assert counts(got) == {"filled": 2000}
        calls = own_server.command("INFO", "commandstats").partition("cmdstat_xrevrange:calls=")[2].partition(",")[0]
        assert int(calls) < 200


async def test_unsubscribing_while_a_gap_is_filled_gives_what_waited_and_counts_the_gap(
    own_server: RedisServer,
) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        await lose_then_hear(bruce, alfred, got, [1, 2], 3)
        bruce.bus.live.remove(got.subscription)
        assert await got.has(2) == [0, 3]
        assert counts(got) == {"missed": 2}


async def test_a_dead_letter_that_was_replayed_hides_nothing_that_stands_before_it(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        await lose_then_hear(bruce, alfred, got, [1, 2], 3)
        ((_, (_, first)),) = own_server.command("XRANGE", "hm:t:s:{x}", "-", "+", "COUNT", "1")
        own_server.command("XADD", "hm:t:s:{x}", "*", "b", first, "g", "")
        hesitate(bruce).set()
        assert await got.has(4) == [0, 1, 2, 3]
        assert counts(got) == {"filled": 2}


@pytest.mark.parametrize(
    "garbage",
    [
        ("HSET", "hm:{t}:kept", "x", "{", "no topic!", '{"at": 1}'),
        ("SET", "hm:{t}:kept", "garbage"),
        ("HSET", "hm:t:p:{x}", "alfred.0", "garbage", "taken:a:b.0", "7", "nobody", "7:7"),
        ("XADD", "hm:t:s:{x}", "*", "b", '{"v":1,"n":7}'),
        ("XADD", "hm:t:s:{x}", "*", "what", "ever"),
        ("PUBLISH", "hm:t:c:kept", "garbage"),
    ],
)
async def test_garbage_stops_nobody(own_server: RedisServer, garbage: tuple[str, ...]) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        await send(alfred, "x", [0])
        own_server.command(*garbage)
        got = await bruce.collect("x*", since="all")
        await bruce.cut()
        await send(alfred, "x", [1])
        await bruce.mend()
        await send(alfred, "x", [2])
        await eventually_async(lambda: got.payloads[-1:] == [2])


async def test_who_is_cut_off_while_it_begins_begins_once_more(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        await send(alfred, "x", [1, 2])
        assert bruce.bus.filler is not None
        await bruce.bus.filler.kept.known()
        sure = hesitate(bruce)
        joining = asyncio.create_task(bruce.collect("x", since="all"))
        await eventually_async(lambda: bool(bruce.bus.live.of("x")) and bruce.bus.live.of("x")[0].ledger.ready < 1e300)
        await send(alfred, "x", [3])
        await bruce.cut()
        await send(alfred, "x", [4])
        await bruce.mend()
        await send(alfred, "x", [5])
        sure.set()
        got = await joining
        assert await got.has(5) == [1, 2, 3, 4, 5]
        assert counts(got) == {}


# -- where patterns are resolved


async def test_where_patterns_are_resolved_a_new_kept_topic_waits_for_who_is_there(own_server: RedisServer) -> None:
    async with resident(own_server.url, "t", "bruce.0") as bruce:
        got = await Collector("n.*").join(bruce.bus)
        async with resident(own_server.url, "t", "alfred.0", ["n.1"]) as alfred:
            await keep(alfred.bus, "n.1")
            alfred.bus.send("n.1", "first")
            assert await got.has(1) == ["first"]
            assert counts(got) == {}


async def test_where_patterns_are_resolved_gaps_are_filled_and_late_joiners_get_the_last_value(
    own_server: RedisServer,
) -> None:
    async with listener(own_server) as bruce, resident(own_server.url, "t", "alfred.0", ["n.1", "n.2"]) as alfred:
        mine = Resident(bruce.bus, "t")
        await mine.join([])
        await keep(alfred.bus, "n.1", "n.2")
        for topic in ("n.1", "n.2"):
            await send(alfred.bus, topic, [f"{topic} {number}" for number in range(3)])
        got = await bruce.collect("n.*", since=1)
        assert await got.has(2) == ["n.1 2", "n.2 2"]
        await bruce.cut()
        await send(alfred.bus, "n.1", ["lost"])
        await bruce.mend()
        await send(alfred.bus, "n.1", ["next"])
        assert (await got.has(4))[2:] == ["lost", "next"]
        assert counts(got) == {"filled": 1}
        await mine.resolution.stop()


@pytest.mark.parametrize("is_spread", [False, True])
async def test_on_a_cluster_what_is_kept_comes_over_the_home_and_what_passed_by_is_filled_in(
    cluster: Cluster, hive_name: str, is_spread: bool
) -> None:
    url = cluster.url
    async with keeper(url, "alfred.0", "x", hive=hive_name) as alfred, on_bus(url, "bruce.0", hive_name) as bruce:
        for bus in (alfred, bruce) if is_spread else ():
            bus.spread()
        watch = KeptWatch(bruce)
        watch.start()
        await send(alfred, "x", [1])
        got = await Collector("x", since="all").join(bruce)
        await send(alfred, "x", [2])
        assert await got.has(2) == [1, 2]
        cluster.owner(hive_name).command("CLIENT", "KILL", "TYPE", "pubsub")
        await send(alfred, "x", [3, 4, 5])
        assert await got.has(5, within=10.0) == [1, 2, 3, 4, 5]
        assert got.subscription.ledger.missed == 0
        await watch.stop()


# -- heavy


async def test_redis_killed_again_and_again_loses_only_what_it_had_not_written(own_server: RedisServer) -> None:
    """Whatever it forgets, what is handled is in order, nothing twice, and the rest is counted."""
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        async with sending(alfred, "x", rate=2000):
            for _ in range(4):
                await got.has(len(got.handled) + 500)
                bruce.proxy.cut()
                await asyncio.to_thread(own_server.restart, keep_data=True, kill=True)
                await are_up(alfred, bruce.bus)
        last = await last_of(alfred, "x")
        await got.hears(last)
        assert is_in_order(got)
        assert len(got.handled) + counts(got).get("missed", 0) == last


async def test_ten_senders_and_five_cuts_of_both_sides_lose_nothing(own_server: RedisServer) -> None:
    async with listener(own_server) as bruce:
        got = await bruce.collect("x")
        buses = [keeper(own_server.url, f"s{number}.0", "x") for number in range(10)]
        senders = [await one.__aenter__() for one in buses]
        loads = [sending(one, "x", rate=200) for one in senders]
        for one in loads:
            await one.__aenter__()
        for _ in range(5):
            await got.has(len(got.handled) + 100)
            await asyncio.to_thread(own_server.command, "CLIENT", "KILL", "SKIPME", "yes")
            await are_up(bruce.bus, *senders)
        for one in loads:
            await one.__aexit__(None, None, None)
        for sender in senders:
            last = await last_of(sender, "x")
            await eventually_async(lambda: sequences(got, sender)[-1:] == [last])  # noqa: B023
            assert sequences(got, sender) == list(range(1, last + 1))
        assert counts(got).keys() <= {"filled"}
        for each in buses:
            await each.__aexit__(None, None, None)


def sequences(got: Collector, sender: Bus) -> list[int]:
    """The numbers of what was handled of one sender."""
    return [sequence for _, name, sequence, _ in got.handled if name == sender.instance]
