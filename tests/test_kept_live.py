"""Kept topics on live subscriptions: what passed by is filled in, once and in order; who joins late gets the latest."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hivemind.bus.bus import Bus

from .bus_kit import Collector, are_up
from .kept_kit import Listener, counts, keeper, last_of, listener, send, sending
from .servers import RedisServer
from .waiting import eventually_async

pytestmark = [pytest.mark.every_server, pytest.mark.timeout(60)]


async def lose(bruce: Listener, alfred: Bus, payloads: Sequence[object], topic: str = "x") -> None:
    """Let messages pass by while the receiver is cut off."""
    await bruce.cut()
    await send(alfred, topic, payloads)
    await bruce.mend()


async def hears_all(got: Collector, count: int) -> None:
    await got.has(count)
    assert got.payloads == list(range(1, count + 1))


async def test_what_was_sent_while_the_link_was_cut_is_filled_in_before_the_next(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        await send(alfred, "x", [1, 2])
        await got.has(2)
        await lose(bruce, alfred, [3, 4, 5])
        await send(alfred, "x", [6, 7])
        await hears_all(got, 7)
        assert counts(got) == {"filled": 3}


async def test_a_lost_tail_is_filled_in_though_nothing_follows_and_its_sender_is_gone(own_server: RedisServer) -> None:
    async with listener(own_server) as bruce:
        async with keeper(own_server.url, "alfred.0", "x") as alfred:
            got = await bruce.collect("x*")
            await send(alfred, "x", [1])
            await got.has(1)
            await bruce.cut()
            await send(alfred, "x", [2, 3])
        await bruce.mend()
        await hears_all(got, 3)
        assert counts(got) == {"filled": 2}


async def test_what_an_old_sender_first_sent_while_the_link_was_cut_is_filled_in(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        await lose(bruce, alfred, [1, 2, 3])
        await send(alfred, "x", [4])
        await hears_all(got, 4)
        assert counts(got) == {"filled": 3}


async def test_a_sender_that_was_replaced_while_the_link_was_cut_loses_none_of_its_lives(
    own_server: RedisServer,
) -> None:
    async with listener(own_server) as bruce:
        got = await bruce.collect("x")
        async with keeper(own_server.url, "alfred.0", "x") as alfred:
            await send(alfred, "x", [1, 2])
            await got.has(2)
            await bruce.cut()
            await send(alfred, "x", [3, 4])
        async with keeper(own_server.url, "alfred.0", "x") as alfred:
            await send(alfred, "x", [5, 6])
        async with keeper(own_server.url, "alfred.0", "x") as alfred:
            await send(alfred, "x", [7, 8])
            await bruce.mend()
            await send(alfred, "x", [9])
            await hears_all(got, 9)
        assert counts(got) == {"filled": 6}


async def test_a_topic_that_was_first_kept_while_the_link_was_cut_is_filled_in(own_server: RedisServer) -> None:
    async with listener(own_server) as bruce:
        got = await bruce.collect("x*")
        await bruce.cut()
        async with keeper(own_server.url, "alfred.0", "x-new") as alfred:
            await send(alfred, "x-new", [1, 2])
            await bruce.mend()
            await send(alfred, "x-new", [3])
            await hears_all(got, 3)
        assert counts(got) == {"filled": 2}


async def test_what_is_not_kept_is_missed_as_ever(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "kept") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        gaps: list[tuple[str, str, int, int]] = []
        got.subscription.ledger.on_gap = lambda *gap: gaps.append(gap)
        await send(alfred, "x", [1])
        await got.has(1)
        await lose(bruce, alfred, [2, 3])
        await send(alfred, "x", [4])
        await got.has(2)
        assert (counts(got), gaps) == ({"missed": 2}, [("x", "alfred.0", 2, 3)])


async def test_what_the_stream_has_lost_is_missed_and_the_rest_is_filled_in(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        gaps: list[tuple[str, str, int, int]] = []
        got.subscription.ledger.on_gap = lambda *gap: gaps.append(gap)
        await send(alfred, "x", [1])
        await got.has(1)
        await bruce.cut()
        await send(alfred, "x", [2, 3, 4, 5])
        own_server.command("XTRIM", "hm:t:s:{x}", "MAXLEN", "2")
        await bruce.mend()
        await send(alfred, "x", [6])
        await got.has(4)
        assert (got.payloads, counts(got)) == ([1, 4, 5, 6], {"filled": 2, "missed": 2})
        assert gaps == [("x", "alfred.0", 2, 3)]


async def test_many_senders_lose_much_and_all_of_it_is_filled_in(own_server: RedisServer) -> None:
    async with listener(own_server) as bruce:
        got = await bruce.collect("x*")
        senders = [keeper(own_server.url, f"s.{number}", "x1", "x2") for number in range(8)]
        buses = [await sender.__aenter__() for sender in senders]
        for start in range(0, 90, 30):
            for bus in buses:
                for topic in ("x1", "x2"):
                    await send(bus, topic, range(start, start + 30))
            if start == 0:
                await got.has(8 * 2 * 30)
            await (bruce.cut() if start == 0 else bruce.mend())
        await got.has(8 * 2 * 90)
        for bus in buses:
            for topic in ("x1", "x2"):
                mine = [sequence for t, n, sequence, _ in got.handled if (t, n) == (topic, bus.instance)]
                assert mine == list(range(1, 91))
        assert counts(got) == {"filled": 8 * 2 * 30}
        for sender in senders:
            await sender.__aexit__(None, None, None)


async def test_two_subscriptions_that_lost_the_same_both_get_it(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        both = [await bruce.collect("x"), await bruce.collect("x*")]
        await send(alfred, "x", [{"n": 1}])
        await both[1].has(1)
        await lose(bruce, alfred, [{"n": 2}])
        for got in both:
            await got.has(2)
            assert counts(got) == {"filled": 1}
        assert both[0].payloads[1] == both[1].payloads[1]
        assert both[0].payloads[1] is not both[1].payloads[1]


async def test_nothing_is_read_when_nothing_was_lost(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        got = await bruce.collect("x")
        await send(alfred, "x", list(range(2000)))
        await got.has(2000)
        assert "cmdstat_xrevrange" not in str(own_server.command("INFO", "commandstats"))
        assert counts(got) == {}


# -- since


async def test_a_late_joiner_gets_the_last_value_of_each_kept_topic_once_and_then_what_is_new(
    own_server: RedisServer,
) -> None:
    async with keeper(own_server.url, "alfred.0", "x-1", "x-2", "y") as alfred, listener(own_server) as bruce:
        for topic in ("x-1", "x-2", "x-live", "y"):
            await send(alfred, topic, [f"{topic} {number}" for number in range(3)])
        got = await bruce.collect("x-*", since=1)
        await got.has(2)
        await send(alfred, "x-1", ["new"])
        assert await got.has(3) == ["x-1 2", "x-2 2", "new"]
        assert counts(got) == {}


async def test_since_says_how_much_of_what_is_there_comes_first(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        await send(alfred, "x", list(range(700)))
        for since, wanted in (("all", 700), (5, 5), ("10m", 700), (650, 650)):
            got = await bruce.collect("x", since=since)
            assert await got.has(wanted) == list(range(700 - wanted, 700))
            assert counts(got) == {}
        new = await bruce.collect("x")
        await send(alfred, "x", ["new"])
        assert await new.has(1) == ["new"]


async def test_who_joins_in_the_middle_of_much_gets_each_message_once_and_in_order(own_server: RedisServer) -> None:
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        await send(alfred, "x", list(range(100)))
        async with sending(alfred, "x", rate=5000):
            joined = [await bruce.collect("x", since=since) for since in ("all", 1, 50, "all", 1, 10)]
        last = await last_of(alfred, "x")
        for got in joined:
            await got.hears(last)
            assert got.sequences == list(range(got.sequences[0], last + 1))
            assert counts(got) == {}


# -- long and rough


async def test_cut_off_twenty_times_nothing_is_lost_doubled_or_out_of_order(own_server: RedisServer) -> None:
    """A sender of 2,000 messages a second; what came over the wire is counted beside the ledger."""
    async with keeper(own_server.url, "alfred.0", "x") as alfred, listener(own_server) as bruce:
        wire: list[bytes] = []
        got = await bruce.collect("x")
        bruce.bus.live.listen("hm:t:t:x", wire.append)
        async with sending(alfred, "x", rate=2000):
            for number in range(1, 21):
                await got.has(len(got.handled) + 50)
                bruce.proxy.cut()
                await eventually_async(lambda: bruce.bus.live.gaps == number)  # noqa: B023
                await are_up(bruce.bus)
        last = await last_of(alfred, "x")
        await got.hears(last)
        assert got.sequences == list(range(1, last + 1))
        assert counts(got) == {"filled": last - len(wire)}
        assert last - len(wire) > 20
