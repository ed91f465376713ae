"""Order by key in Redis: whatever happens, the messages of a key that are under way are in one pair of hands."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from hivemind.bus.deliveries import Deliveries
from hivemind.bus.delivery import Delivery
from hivemind.bus.keyed_reader import KeyedReader
from hivemind.bus.streams import Home, Mark, Reader
from hivemind.bus.trials import Rules
from hivemind.errors import TakenOver

from .servers import RedisServer
from .test_streams import GROUP, Table, reader
from .waiting import eventually_async

T = TypeVar("T")
PATH = "order.key"


def body(key: Any, number: int) -> bytes:
    """A message whose key is the number's remainder, so that it can be told from the number alone."""
    payload = {"number": number, "order": {"key": key}}
    return orjson.dumps({"v": 1, "n": "a.0", "e": 1, "s": number, "t": 0.0, "d": payload})


@pytest.fixture
async def table(server: RedisServer, hive_name: str) -> AsyncIterator[Table]:
    made = Table(server.url, hive_name)
    await made.streams.join("n", GROUP, "0")
    yield made
    await made.commands.aclose()


async def drawn(table: Table, life: Reader, most: int = 100) -> list[tuple[int, bytes]]:
    """The numbers that a reader draws, with the keys."""
    given = (await table.streams.draw("n", life, most, PATH)).given
    return [(orjson.loads(fields[1])["d"]["number"], key) for _, fields, key in given]


@pytest.mark.every_server
async def test_what_belongs_to_a_key_in_hand_is_given_to_whose_hand_it_is(table: Table) -> None:
    await table.append("n", 1, 1, [body("a", 1), body("b", 2)])
    assert await drawn(table, reader(0), most=1) == [(1, b"a")]
    await table.append("n", 1, 3, [body("a", 3), body("b", 4)])
    assert await drawn(table, reader(1)) == [(2, b"b"), (4, b"b")]
    assert await drawn(table, reader(0)) == [(3, b"a")]


@pytest.mark.parametrize(
    ("key", "text"),
    [("x y", b"x y"), (7, b"7"), (1.5, b"1.5"), (True, b"true"), ("ü", "ü".encode()), ("x" * 300, None)],
)
async def test_a_key_is_a_text_a_number_or_a_truth(table: Table, key: Any, text: bytes | None) -> None:
    await table.append("n", 1, 1, [body(key, 1)])
    ((_, found),) = await drawn(table, reader())
    assert found == text if text else len(found) == 40


@pytest.mark.parametrize(
    "odd", [b"{", b"7", b"null", b'{"order":[]}', b'{"order":{"key":{}}}', b'{"v":1,"d":3}', b"[[1]]"]
)
async def test_what_has_no_key_is_in_nobodys_hand(table: Table, odd: bytes) -> None:
    await table.append("n", 1, 1, [odd])
    ((_, _, key),) = (await table.streams.draw("n", reader(), 10, PATH)).given
    assert key == b""
    assert await table.commands.execute("EXISTS", table.names.order("n")) == 0


async def test_a_foreign_message_has_its_key_in_itself(table: Table) -> None:
    await table.append("n", 1, 1, [b'{"order":{"key":"a"}}'])
    ((_, _, key),) = (await table.streams.draw("n", reader(), 10, PATH)).given
    assert key == b"a"


async def test_whoever_lets_too_much_wait_holds_the_others_up_until_he_has_drawn_it(table: Table) -> None:
    await table.append("n", 1, 1, [body("a", number) for number in range(1, 1000)])
    await table.streams.draw("n", reader(0), 1, PATH)
    await table.streams.draw("n", reader(1), 800, PATH)
    held_up = await table.streams.draw("n", reader(1), 100, PATH)
    assert (held_up.is_held_up, held_up.given) == (True, [])
    assert len((await table.streams.draw("n", reader(0), 2000, PATH)).given) == 998
    assert not (await table.streams.draw("n", reader(1), 100, PATH)).is_held_up


async def test_garbage_in_the_place_of_keys_holds_nobody_up(table: Table) -> None:
    await table.commands.execute("SET", table.names.order("n"), "nonsense")
    await table.append("n", 1, 1, [body("a", 1)])
    assert await drawn(table, reader()) == [(1, b"a")]
    await table.commands.execute(
        "HSET",
        table.names.order("n"),
        f"k{GROUP} a",
        "nonsense",
        f"g{GROUP} shop.0.e1",
        "x 1-1 9999999999999999999999-1",
    )
    await table.append("n", 1, 2, [body("a", 2)])
    assert await drawn(table, reader()) == [(2, b"a")]


async def test_a_life_that_was_taken_over_from_draws_nothing(table: Table) -> None:
    await table.append("n", 1, 1, [body("a", 1)])
    await drawn(table, reader(0))
    (held,) = await table.streams.take_over_keys("n", reader(1), reader(0), PATH)
    assert held.key == b"a"
    with pytest.raises(TakenOver):
        await table.streams.draw("n", reader(0), 10, PATH)


async def test_the_reader_of_a_life_that_was_taken_over_from_asks_redis_no_more(table: Table) -> None:
    given: list[Delivery] = []
    deliveries = Deliveries(table.streams, reader(0), lambda _: Rules(order_by=PATH), given.append)
    home = Home(table.commands.endpoint, "hm:shop.0:read", table.names, table.functions)
    keyed = KeyedReader(home, table.streams, deliveries, lambda _: PATH)
    keyed.start()
    await keyed.add(["n"])
    await table.append("n", 1, 1, [body("a", 1)])
    await eventually_async(lambda: len(given) == 1)
    await table.streams.take_over_keys("n", reader(1), reader(0), PATH)
    await table.append("n", 1, 2, [body("a", 2)])
    await eventually_async(lambda: "reader shop" not in {task.get_name() for task in asyncio.all_tasks()})
    assert deliveries.is_taken
    await keyed.aclose()


async def test_with_its_group_goes_what_was_remembered_of_it(table: Table) -> None:
    await table.append("n", 1, 1, [body("a", 1), body("a", 2), body("b", 3)])
    ((entry, _, key),) = (await table.streams.draw("n", reader(0), 1, PATH)).given
    await table.streams.draw("n", reader(1), 1, PATH)
    await table.streams.conclude("n", reader(0), [(entry, key)], 60.0, [Mark("a.0", 1, 1)])
    assert await table.commands.execute("EXISTS", table.names.order("n"), table.names.memory("n")) == 2
    await table.streams.disband("n", GROUP)
    assert await table.commands.execute("EXISTS", table.names.order("n"), table.names.memory("n")) == 0


@dataclass
class Hands:
    """What a life knows that it holds: by entry, the key and the number."""

    reader: Reader
    held: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)

    def firsts(self) -> list[bytes]:
        """Of each key the entry whose turn it is."""
        firsts: dict[bytes, bytes] = {}
        for entry in sorted(self.held, key=lambda entry: self.held[entry][1]):
            firsts.setdefault(self.held[entry][0], entry)
        return list(firsts.values())


class Order(RuleBasedStateMachine):
    """Three lives that read by key. What they settle, the first of each key, is in order, whatever else happens."""

    url: str
    hives = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.table = Table(self.url, f"order-{next(self.hives)}")
        self.lives = [Hands(reader(number)) for number in range(3)]
        self.keys: list[str] = [""]  # by number
        self.settled: defaultdict[str, list[int]] = defaultdict(list)

    def run(self, awaitable: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(awaitable)

    def teardown(self) -> None:
        self.run(self._finish())
        self.run(self.table.commands.aclose())
        self.loop.close()

    async def _finish(self) -> None:
        """Who lives on handles all that is there."""
        while sum(map(len, self.settled.values())) < len(self.keys) - 1:
            for life in self.lives:
                await self._draw(life, 100)
                await self._settle(life, life.firsts())

    @initialize()
    def join(self) -> None:
        self.run(self.table.streams.join("n", GROUP, "0"))

    @rule(keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
    def append(self, keys: list[str]) -> None:
        first = len(self.keys)
        self.keys += keys
        self.run(self.table.append("n", 1, first, [body(key, first + at) for at, key in enumerate(keys)]))

    @rule(which=st.integers(0, 2), most=st.integers(1, 5))
    def draw(self, which: int, most: int) -> None:
        self.run(self._draw(self.lives[which], most))

    async def _draw(self, life: Hands, most: int) -> None:
        for entry, fields, key in (await self.table.streams.draw("n", life.reader, most, PATH)).given:
            self.take(life, entry, key, orjson.loads(fields[1])["d"]["number"])

    def take(self, life: Hands, entry: bytes, key: bytes, number: int) -> None:
        assert key.decode() == self.keys[number]
        assert entry not in life.held
        assert all(number > other for of, other in life.held.values() if of == key), "what comes later is later"
        life.held[entry] = (key, number)

    @rule(which=st.integers(0, 2), most=st.integers(1, 5))
    def lose_an_answer(self, which: int, most: int) -> None:
        """As when a connection is lost: then a reader asks what it holds before it draws again."""
        life = self.lives[which]
        self.run(self.table.streams.draw("n", life.reader, most, PATH))
        self.run(self._catch_up(life, life.reader))

    async def _catch_up(self, life: Hands, ended: Reader) -> None:
        found = await self.table.streams.take_over_keys("n", life.reader, ended, PATH)
        if ended == life.reader:
            assert {held.entry for held in found} >= set(life.held)
        for held in found:
            if held.entry not in life.held:
                (entry,) = await self.table.commands.execute(
                    "XRANGE", self.table.names.stream("n"), held.entry, held.entry
                )
                self.take(life, held.entry, held.key, orjson.loads(entry[1][1])["d"]["number"])

    @precondition(lambda self: any(life.held for life in self.lives))
    @rule(data=st.data(), is_bad=st.booleans())
    def settle(self, data: st.DataObject, is_bad: bool) -> None:
        life = data.draw(st.sampled_from([life for life in self.lives if life.held]))
        some = data.draw(st.lists(st.sampled_from(life.firsts()), unique=True, min_size=1))
        self.run(self._settle(life, some, is_bad=is_bad))

    async def _settle(self, life: Hands, entries: Sequence[bytes], *, is_bad: bool = False) -> None:
        for entry in entries:
            key, number = life.held.pop(entry)
            if is_bad:
                assert await self.table.streams.bury("n", life.reader, entry, b"letter", 1000, key)
            else:
                assert await self.table.streams.conclude("n", life.reader, [(entry, key)], 0.0, []) == 1
                assert await self.table.streams.conclude("n", life.reader, [(entry, key)], 0.0, []) == 0
            self.settled[key.decode()].append(number)
            expected = [at for at, of in enumerate(self.keys) if of == key.decode()][: len(self.settled[key.decode()])]
            assert self.settled[key.decode()] == expected

    @rule(which=st.integers(0, 2), step=st.integers(1, 2))
    def crash(self, which: int, step: int) -> None:
        """A life ends, another takes over, and the instance comes back in a new life."""
        ended, heir = self.lives[which], self.lives[(which + step) % 3]
        self.run(self._catch_up(heir, ended.reader))
        assert heir.held.keys() >= ended.held.keys()
        self.lives[which] = Hands(reader(which, ended.reader.incarnation + 1))

    @invariant()
    def each_key_is_in_one_pair_of_hands(self) -> None:
        self.run(self._look())

    async def _look(self) -> None:
        execute, names = self.table.commands.execute, self.table.names
        if not await self.table.length("n"):
            return
        stream = {
            entry: orjson.loads(fields[1])["d"]
            for entry, fields in await execute("XRANGE", names.stream("n"), "-", "+")
        }
        owners: defaultdict[str, list[bytes]] = defaultdict(list)
        for entry, consumer, *_ in await execute("XPENDING", names.stream("n"), GROUP, "-", "+", 1000):
            owners[stream[entry]["order"]["key"]].append(consumer)
        assert all(len(set(consumers)) == 1 for consumers in owners.values())
        for key in "abc":
            count = owners[key]
            said = await execute("HGET", names.order("n"), f"k{GROUP} {key}")
            assert said == (b"%d %b" % (len(count), count[0]) if count else None)


@pytest.mark.every_server
def test_the_order_of_a_key_is_what_the_model_says(server: RedisServer) -> None:
    machine = type("OrderHere", (Order,), {"url": server.url})
    run_machine(machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
