"""Durable topics in Redis: what the functions do, one by one, and in any order against a model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Reader, Streams
from hivemind.errors import RedisRefused, TakenOver
from hivemind.retention import Retention
from hivemind.topics import Names

from .servers import RedisServer
from .streams_kit import append

T = TypeVar("T")
GROUP = "shop"
WEEK = 7 * 86_400.0
NOTHING = Retention(True, 0.0, 0)


class Table:
    """The streams of one hive and a connection to look at them."""

    def __init__(self, url: str, hive: str) -> None:
        self.commands = Commands(Endpoint.parse(url))
        self.names = Names(hive)
        self.functions = Functions(self.commands)
        self.streams = Streams(self.commands, self.functions, self.names)

    async def append(self, topic: str, incarnation: int, first: int, bodies: Sequence[bytes]) -> int:
        """As the sender ``a.0`` does."""
        return await append(self.functions, self.names, topic, ("a.0", incarnation), first, bodies)

    async def read(self, topic: str, reader: Reader, most: int = 100) -> list[tuple[bytes, bytes]]:
        """What is new for a group: entry and body."""
        words = ("XREADGROUP", "GROUP", reader.group, reader.consumer, "COUNT", most, "STREAMS")
        reply = await self.commands.execute(*words, self.names.stream(topic), ">")
        return [(entry, fields[1]) for entry, fields in reply[0][1]] if reply else []

    async def length(self, topic: str) -> int:
        return int(await self.commands.execute("XLEN", self.names.stream(topic)))

    async def pending(self, topic: str, group: str = GROUP) -> int:
        return int((await self.commands.execute("XPENDING", self.names.stream(topic), group))[0])


@pytest.fixture
async def table(server: RedisServer, hive_name: str) -> AsyncIterator[Table]:
    made = Table(server.url, hive_name)
    yield made
    await made.commands.aclose()


def reader(number: int = 0, incarnation: int = 1) -> Reader:
    return Reader(GROUP, f"shop.{number}", incarnation)


async def test_what_is_appended_twice_is_there_once_and_in_order(table: Table) -> None:
    assert await table.append("n", 1, 1, [b"1", b"2"]) == 2
    assert await table.append("n", 1, 1, [b"1", b"2", b"3"]) == 1
    assert await table.append("n", 1, 2, [b"2", b"3"]) == 0
    assert await table.append("n", 2, 1, [b"4"]) == 1
    assert await table.streams.join("n", GROUP, "0")
    assert [body for _, body in await table.read("n", reader())] == [b"1", b"2", b"3", b"4"]


async def test_what_stands_behind_what_was_refused_is_refused_too(table: Table) -> None:
    await table.append("n", 1, 1, [b"1"])
    arguments = (table.functions, table.names, "n", ("a.0", 1))
    with pytest.raises(RedisRefused, match="BEHIND 1"):
        await append(*arguments, 4, [b"4"], after=(3, "1"))
    assert await append(*arguments, 2, [b"2", b"3"], after=(1, "1")) == 2
    assert await append(*arguments, 4, [b"4"], after=(3, "1")) == 1
    await table.streams.join("n", GROUP, "0")
    assert [body for _, body in await table.read("n", reader())] == [b"1", b"2", b"3", b"4"]


async def test_an_older_life_of_a_sender_appends_nothing(table: Table) -> None:
    await table.append("n", 5, 1, [b"1"])
    with pytest.raises(RedisRefused, match="FENCED 5"):
        await table.append("n", 4, 1, [b"old"])
    assert await table.length("n") == 1


async def test_a_life_that_was_taken_over_from_acknowledges_nothing(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await table.append("n", 1, 1, [b"1", b"2"])
    ids = [entry for entry, _ in await table.read("n", reader(0))]
    assert [held.entry for held in await table.streams.take_over("n", reader(1), reader(0))] == ids
    with pytest.raises(TakenOver):
        await table.streams.acknowledge("n", reader(0), ids)
    with pytest.raises(TakenOver):
        await table.streams.bury("n", reader(0), ids[0], b"letter", 10)
    assert await table.pending("n") == 2
    assert await table.streams.acknowledge("n", reader(1), ids) == 2
    assert await table.pending("n") == 0


async def test_a_try_counts_when_it_begins_and_not_when_somebody_takes_over(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await table.append("n", 1, 1, [b"1"])
    ((entry, _),) = await table.read("n", reader(0))
    await table.streams.park("n", reader(0), entry, 60.0)
    (held,) = await table.streams.take_over("n", reader(1), reader(0))
    assert held.tries == 1
    assert held.wait == pytest.approx(60.0, abs=5.0)
    (again,) = await table.streams.retake("n", reader(1), [entry])
    assert (again.number, again.body) == (2, b"1")


async def test_an_entry_that_was_removed_is_told_and_holds_nobody_up(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await table.append("n", 1, 1, [b"1"])
    ((entry, _),) = await table.read("n", reader())
    await table.commands.execute("XDEL", table.names.stream("n"), entry)
    (lost,) = await table.streams.retake("n", reader(), [entry])
    assert lost.body is None
    assert await table.pending("n") == 0


async def test_who_asks_again_because_an_answer_was_lost_begins_the_same_try(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await table.append("n", 1, 1, [b"1"])
    ((entry, _),) = await table.read("n", reader())
    tries = [await table.streams.retake("n", reader(), [entry], counted) for counted in (1, 1, 2, 2, 2)]
    assert [one.number for (one,) in tries] == [2, 2, 3, 3, 3]


async def test_reading_again_what_one_holds_counts_nothing(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await table.append("n", 1, 1, [b"1", b"2", b"3"])
    first, second, third = [entry for entry, _ in await table.read("n", reader())]
    await table.streams.park("n", reader(), second, 60.0)
    await table.commands.execute("XDEL", table.names.stream("n"), third)
    for _ in range(3):
        owned = await table.streams.owned("n", reader(), b"0", 10)
    assert [(one.held.entry, one.held.tries, one.is_new) for one in owned] == [
        (first, 1, True),
        (second, 1, False),
        (third, 1, False),
    ]
    assert [one.held.entry for one in await table.streams.owned("n", reader(), first, 1)] == [second]


@pytest.mark.every_server
async def test_where_the_last_so_many_begin_is_found_without_reading_them(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sent() -> int:
        said = await table.commands.execute("INFO", "stats")
        text = said if isinstance(said, str) else said.decode()
        return int(next(line for line in text.splitlines() if "total_net_output" in line).partition(":")[2])

    monkeypatch.setattr("hivemind.bus.streams.BACK", 7)
    await table.append("n", 1, 1, [b"x" * 100_000] * 50)
    entries = await table.commands.execute("XRANGE", table.names.stream("n"), "-", "+")
    before = await sent()
    starts = [await table.streams.start("n", since) for since in ("0", "1", "6", "7", "49", "50", "9" * 12)]
    assert starts == [*(entries[-1 - back][0].decode() for back in (0, 1, 6, 7, 49)), "0", "0"]
    assert await sent() - before < 100_000


async def test_what_somebody_else_wrote_of_a_sender_loses_nothing(table: Table) -> None:
    arguments = (table.functions, table.names, "n", ("a.0", 1))
    assert await append(*arguments, 1, [b"1", b"2"], written=0) == 2
    await table.commands.execute("HSET", table.names.producers("n"), "a.0", "1:999999")
    assert await append(*arguments, 3, [b"3"], after=(2, ""), written=2) == 1
    assert await append(*arguments, 3, [b"3", b"4"], after=(2, ""), written=4) == 1
    assert await table.length("n") == 4


async def test_trimming_stops_at_what_the_slowest_group_has_yet_to_acknowledge(table: Table) -> None:
    for group in (GROUP, "slow"):
        await table.streams.join("n", group, "0")
    await table.append("n", 1, 1, [b"%d" % number for number in range(1000)])
    fast = await table.read("n", reader(), 1000)
    await table.streams.acknowledge("n", reader(), [entry for entry, _ in fast])
    assert await table.streams.trim("n", NOTHING) == 0
    slow = Reader("slow", "slow.0", 1)
    read = await table.read("n", slow, 500)
    await table.streams.acknowledge("n", slow, [entry for entry, _ in read[:400]])
    assert await table.streams.trim("n", NOTHING) > 0
    assert 600 <= await table.length("n") < 1000
    assert [one.body for one in await table.streams.retake("n", slow, [read[400][0]])] == [b"400"]
    assert await table.streams.trim("n", NOTHING, retired=["slow"]) > 0


@dataclass
class Life:
    """A life of an instance that reads: what it holds, and what of that is parked."""

    reader: Reader
    held: dict[bytes, int] = field(default_factory=dict)


class Delivery(RuleBasedStateMachine):
    """Everything that can happen to messages of one topic and one group, beside what a model says of it.

    Entries are numbered by their bodies. Each is new, held by one life, or done; and stays in the stream until done.
    """

    url: str
    hives = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.table = Table(self.url, f"model-{next(self.hives)}")
        self.sent = 0
        self.new: list[int] = []
        self.lives = [Life(reader(number)) for number in range(2)]
        self.bodies: dict[bytes, int] = {}
        self.done: set[bytes] = set()

    def run(self, awaitable: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(awaitable)

    def teardown(self) -> None:
        self.run(self.table.commands.aclose())
        self.loop.close()

    @initialize()
    def join(self) -> None:
        assert self.run(self.table.streams.join("n", GROUP, "0"))
        assert not self.run(self.table.streams.join("n", GROUP, "0"))

    @rule(again=st.integers(0, 5), more=st.integers(1, 5))
    def append(self, again: int, more: int) -> None:
        first = max(1, self.sent + 1 - again)
        bodies = [b"%d" % number for number in range(first, self.sent + more + 1)]
        assert self.run(self.table.append("n", 1, first, bodies)) == more
        self.new += range(self.sent + 1, self.sent + more + 1)
        self.sent += more

    @rule(which=st.integers(0, 1), most=st.integers(1, 5))
    def read(self, which: int, most: int) -> None:
        life = self.lives[which]
        found = self.run(self.table.read("n", life.reader, most))
        expected, self.new = self.new[:most], self.new[most:]
        assert [int(body) for _, body in found] == expected
        for entry, body in found:
            self.bodies[entry] = int(body)
            life.held[entry] = 1

    def some(self, life: Life, data: st.DataObject) -> list[bytes]:
        return data.draw(st.lists(st.sampled_from(sorted(life.held)), unique=True, min_size=1))

    @precondition(lambda self: any(life.held for life in self.lives))
    @rule(data=st.data(), what=st.sampled_from(["ack", "park", "retake", "bury"]))
    def act(self, data: st.DataObject, what: str) -> None:
        life = data.draw(st.sampled_from([life for life in self.lives if life.held]))
        entries = self.some(life, data)
        self.run(getattr(self, f"_{what}")(life, entries))

    async def _ack(self, life: Life, entries: Sequence[bytes]) -> None:
        assert await self.table.streams.acknowledge("n", life.reader, entries) == len(entries)
        assert await self.table.streams.acknowledge("n", life.reader, entries) == 0
        self.finish(life, entries)

    async def _park(self, life: Life, entries: Sequence[bytes]) -> None:
        assert await self.table.streams.park("n", life.reader, entries[0], 60.0) > 0

    async def _retake(self, life: Life, entries: Sequence[bytes]) -> None:
        tries = await self.table.streams.retake("n", life.reader, entries)
        assert [one.entry for one in tries] == list(entries)
        for one in tries:
            life.held[one.entry] += 1
            assert one.number == life.held[one.entry]
            assert one.body == b"%d" % self.bodies[one.entry]

    async def _bury(self, life: Life, entries: Sequence[bytes]) -> None:
        assert await self.table.streams.bury("n", life.reader, entries[0], b"letter", 1000)
        assert await self.table.streams.bury("n", life.reader, entries[0], b"letter", 1000) is None
        self.finish(life, entries[:1])

    def finish(self, life: Life, entries: Sequence[bytes]) -> None:
        for entry in entries:
            del life.held[entry]
        self.done.update(entries)

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        """A life ends, the other takes over, and the instance comes back in a new life."""
        ended, other = self.lives[which], self.lives[1 - which]
        taken = self.run(self.table.streams.take_over("n", other.reader, ended.reader))
        assert {held.entry: held.tries for held in taken} == ended.held
        other.held |= ended.held
        with pytest.raises(TakenOver):
            self.run(self.table.streams.acknowledge("n", ended.reader, [b"1-1"]))
        self.lives[which] = Life(reader(which, ended.reader.incarnation + 1))

    @rule(seconds=st.sampled_from([0.0, WEEK]), entries=st.integers(0, 10))
    def trim(self, seconds: float, entries: int) -> None:
        self.run(self.table.streams.trim("n", Retention(True, seconds, entries)))

    @invariant()
    def nothing_is_lost(self) -> None:
        self.run(self._look())

    async def _look(self) -> None:
        if not await self.table.length("n"):
            return
        held = {entry for life in self.lives for entry in life.held}
        assert await self.table.pending("n") == len(held)
        there = await self.table.commands.execute("XRANGE", self.table.names.stream("n"), "-", "+")
        bodies = {int(fields[1]) for _, fields in there}
        assert bodies >= {self.bodies[entry] for entry in held} | set(self.new)
        assert not held & self.done


def test_a_delivery_is_what_the_model_says(server: RedisServer) -> None:
    machine = type("DeliveryHere", (Delivery,), {"url": server.url})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


@pytest.mark.parametrize("spoilt", ["producers", "retries", "letters", "order"])
async def test_garbage_in_the_place_of_a_key_holds_nobody_up_and_loses_no_message(table: Table, spoilt: str) -> None:
    async def spoil() -> None:
        await table.commands.execute("SET", getattr(table.names, spoilt)("n"), "nonsense")

    await table.streams.join("n", GROUP, "0")
    await table.append("n", 1, 1, [b"1", b"2", b"3", b"4"])
    first, second, third, fourth = [entry for entry, _ in await table.read("n", reader())]
    await spoil()
    assert await table.streams.park("n", reader(), first, 0.0) > 0
    await spoil()
    assert [one.body for one in await table.streams.retake("n", reader(), [first])] == [b"1"]
    await spoil()
    assert await table.streams.acknowledge("n", reader(), [first]) == 1
    await spoil()
    assert await table.streams.conclude("n", reader(), [(second, b"key")], 0.0, []) == 1
    await spoil()
    letter = await table.streams.bury("n", reader(), third, b"letter", 10, b"key")
    assert await table.commands.execute("XRANGE", table.names.letters("n"), "-", "+") == [[letter, [b"b", b"letter"]]]
    await spoil()
    assert [held.entry for held in await table.streams.take_over("n", reader(1), reader(), 10)] == [fourth]


async def test_a_message_whose_dead_letter_cannot_be_written_stays(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await table.append("n", 1, 1, [b"1"])
    ((entry, _),) = await table.read("n", reader())
    last = "18446744073709551615-18446744073709551615"
    await table.commands.execute("XADD", table.names.letters("n"), last, "b", "x")
    with pytest.raises(RedisRefused):
        await table.streams.bury("n", reader(), entry, b"letter", 10)
    assert await table.pending("n") == 1
