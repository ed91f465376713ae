"""What retires: groups, topics, senders and readers of durable delivery that are gone for good. With short times."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
import pytest

from hivemind import AsyncService, Node, service, subscription
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.streams import Reader
from hivemind.data.caretaker import Caretaker, Terms
from hivemind.data.entries import UNSEEN, Reading, idle_groups, reading_from, retired
from hivemind.data.heirs import Heirs
from hivemind.data.records import About, Instance, Stats, SubscriptionRecord
from hivemind.retention import Retention
from hivemind.supervisor.plan import Plan
from hivemind.supervisor.steward import declared, reads
from hivemind.supervisor.topology import Problem, Program
from hivemind.testing import HiveTest
from hivemind.topics import Names

from .bus_kit import until
from .clock_kit import TurnedClock
from .servers import RedisServer
from .streams_kit import append
from .test_clock import is_ahead
from .test_kept import Shelf
from .waiting import eventually

RETIRE = 0.05
NOTHING = Retention(True, 0.0, 0)
SIZES = {b"hash": "HLEN", b"zset": "ZCARD"}


@dataclass
class Garden:
    """A hive in which things come and go, and a caretaker whose clock the test turns."""

    shelf: Shelf
    now: float = 0.0
    caretaker: Caretaker = field(init=False)

    def __post_init__(self) -> None:
        self.caretaker = self.another(Terms(RETIRE))

    def another(self, terms: Terms) -> Caretaker:
        shelf = self.shelf
        return Caretaker(shelf.streams, terms, lambda: self.now)

    async def later(self) -> bool:
        """Look twice, and let the time pass between in which nothing may change."""
        await self.caretaker.look()
        self.now += 1000.0
        return await self.caretaker.look()

    async def readings(self) -> dict[str, Reading]:
        return {f"{one.group} {one.pattern}": one for one in await self.shelf.kept.readings()}

    async def groups(self, topic: str) -> int:
        return len(await self.shelf.commands.execute("XINFO", "GROUPS", self.shelf.names.stream(topic)))

    async def send(self, topic: str, sender: str = "a.0", count: int = 3) -> None:
        bodies = [b"%d" % number for number in range(count)]
        await append(self.shelf.functions, self.shelf.names, topic, (sender, 1), 1, bodies)

    async def keys(self) -> dict[str, int]:
        """All keys of the hive but the caretaker's, and how many fields, members or groups each has."""
        ask = self.shelf.commands.execute
        found = {}
        for key in await ask("KEYS", f"hm:*{self.shelf.names.hive}*"):
            if key.decode() != self.shelf.names.caretaker():
                kind = await ask("TYPE", key)
                size = len(await ask("XINFO", "GROUPS", key)) if kind == b"stream" else await ask(SIZES[kind], key)
                found[key.decode()] = size
        return found


@pytest.fixture
async def garden(server: RedisServer, hive_name: str) -> AsyncIterator[Garden]:
    shelf = Shelf(server.url, hive_name)
    yield Garden(shelf)
    await shelf.commands.aclose()


async def becomes(garden: Garden, check: Callable[[dict[str, Reading]], bool]) -> None:
    """Look until what the hive remembers of readers is so."""

    async def seen() -> bool:
        await garden.later()
        return check(await garden.readings())

    await until(seen)


async def test_a_group_that_nobody_sees_retires_holds_nothing_back_and_is_removed(
    garden: Garden, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = garden.shelf
    await shelf.kept.announce("n")
    await shelf.kept.read("shop", "n", "all")
    await garden.send("n", count=1000)
    with caplog.at_level(logging.WARNING, "hivemind.durable"):
        await becomes(garden, lambda found: found["shop n"].retired > 0)
        assert idle_groups("n", await shelf.kept.readings()) == {"shop"}
        assert await shelf.streams.trim("n", NOTHING) == 0
        assert await shelf.streams.trim("n", NOTHING, {"shop"}) > 0
        await garden.send("n", "b.0")
        await becomes(garden, lambda found: not found)
    assert await garden.groups("n") == 0
    told = [one.message.partition(" was ")[0] for one in caplog.records]
    assert told == ["group shop, which read n,"] * 2


async def test_who_comes_back_before_it_is_removed_goes_on_where_it_was(garden: Garden) -> None:
    await garden.shelf.kept.announce("n")
    await garden.shelf.kept.read("shop", "n", "all")
    await garden.send("n")
    await becomes(garden, lambda found: found["shop n"].retired > 0)
    await garden.shelf.kept.read("shop", "n", "new")
    assert (await garden.readings())["shop n"].retired == 0
    words = ("XREADGROUP", "GROUP", "shop", "shop.0.e1", "STREAMS", garden.shelf.names.stream("n"), ">")
    assert len((await garden.shelf.commands.execute(*words))[0][1]) == 3


async def test_nothing_retires_that_was_not_watched_for_a_while(garden: Garden) -> None:
    await garden.shelf.commands.execute(
        "HSET", garden.shelf.names.readings(), "shop n", Reading("shop", "n", "all", 1, "shop", 1).entry()
    )
    for _ in range(5):
        await garden.caretaker.look()
    assert (await garden.readings())["shop n"].retired == 0  # it was not there for years, or Redis's clock was set
    garden.now += 1000.0
    await garden.caretaker.look()
    assert (await garden.readings())["shop n"].retired > 0


async def test_a_reader_of_an_older_version_does_not_retire_while_it_reads(garden: Garden) -> None:
    slow = Garden(garden.shelf)
    slow.caretaker = slow.another(Terms(30.0))
    await garden.shelf.kept.announce("n")
    old = orjson.dumps({"since": "all", "at": 5})
    await garden.shelf.commands.execute("HSET", garden.shelf.names.readings(), "shop n", old)
    await slow.caretaker.look()
    (found,) = (await slow.readings()).values()
    assert found.seen > found.at  # its time begins now
    await garden.shelf.streams.join("n", "shop", "0")
    long_ago = found.entry(seen=1)
    await garden.shelf.commands.execute("HSET", garden.shelf.names.readings(), "shop n", long_ago)
    words = ("XREADGROUP", "GROUP", "shop", "shop.0.e1", "STREAMS", garden.shelf.names.stream("n"), ">")
    await garden.shelf.commands.execute(*words)
    await slow.later()
    assert (await slow.readings())["shop n"].retired == 0


async def test_a_group_that_another_program_made_retires_as_others_unless_it_reads(garden: Garden) -> None:
    shelf, stream = garden.shelf, garden.shelf.names.stream("n")
    garden.caretaker = garden.another(Terms(0.5))
    await shelf.kept.announce("n")
    await garden.send("n", count=1000)
    await shelf.commands.execute("XGROUP", "CREATE", stream, "their.own", "0")
    await shelf.commands.execute("XGROUP", "CREATE", stream, "reads", "0")

    async def retires() -> bool:
        await shelf.commands.execute("XREADGROUP", "GROUP", "reads", "it", "COUNT", 1, "STREAMS", stream, ">")
        await garden.later()
        return idle_groups("n", await shelf.kept.readings()) == {"their.own"}

    await until(retires)
    assert await shelf.streams.trim("n", NOTHING, {"their.own", "reads"}) > 0
    await until(lambda: retired_and_removed(garden, "their.own n"))
    assert await shelf.streams.groups("n") <= {"reads"}


async def retired_and_removed(garden: Garden, name: str) -> bool:
    await garden.later()
    return name not in await garden.readings()


def test_what_retires_on_a_running_hive_holds_nothing_back_and_is_removed(hive: HiveTest) -> None:
    names = Names(hive.settings.name)
    entry = "theirs order"

    class Till(Node):
        @service("order", durable=True, keep="0.001s")
        async def sell(self, service: AsyncService) -> int:
            for number in range(1000):
                service.send(number)
            await service.flush()
            return 1

    async def ask(*words: Any) -> Any:
        async with Commands(Endpoint.parse(hive.settings.redis_url)) as commands:
            return await commands.execute(*words)

    def reading() -> Reading | None:
        raw = asyncio.run(ask("HGET", names.readings(), entry))
        return reading_from(entry, raw) if raw else None

    def a_week_ago(**times: int) -> None:
        found = reading()
        assert found is not None
        asyncio.run(ask("HSET", names.readings(), entry, found.entry(**times)))

    till = hive.start(Till)
    eventually(lambda: till.bound_services[0].record().state == "finished")
    asyncio.run(ask("XGROUP", "CREATE", names.stream("order"), "theirs", "0"))
    hive.advance(61)
    eventually(lambda: reading() is not None)
    a_week_ago(seen=1)
    hive.advance(700)
    eventually(lambda: (found := reading()) is not None and found.retired > 0)
    hive.advance(20)
    eventually(lambda: asyncio.run(ask("XLEN", names.stream("order"))) < 1000)
    a_week_ago(retired=1)
    hive.advance(700)
    eventually(lambda: reading() is None)
    assert asyncio.run(ask("XINFO", "GROUPS", names.stream("order"))) == []


async def test_a_group_stays_where_another_of_its_patterns_is_read(garden: Garden) -> None:
    await garden.shelf.kept.announce("order.new")
    await garden.shelf.kept.read("shop", "order.new", "all")
    await garden.shelf.kept.read("shop", "order.*", "all")

    async def only_the_other_is_left() -> bool:
        await garden.shelf.kept.see({"nobody"}, {})
        key, name = garden.shelf.names.readings(), "shop order.*"
        living = (await garden.readings())[name].entry(seen=await garden.shelf.kept.now(), retired=0)
        await garden.shelf.commands.execute("HSET", key, name, living)
        await garden.later()
        return list(await garden.readings()) == [name]

    await until(only_the_other_is_left)
    assert await garden.groups("order.new") == 1


async def test_of_several_caretakers_one_looks(garden: Garden) -> None:
    other = garden.another(Terms(RETIRE, look=0.05))
    first = garden.another(Terms(RETIRE, look=0.05))
    assert await first.look()
    assert not await other.look()
    assert await first.look()
    await until(other.look)  # the first looks no more


async def test_of_any_number_of_caretakers_that_look_at_once_exactly_one_does_also_when_the_clock_jumps(
    turned_server: RedisServer, turned: TurnedClock
) -> None:
    shelf = Shelf(turned_server.url, "t")
    garden = Garden(shelf)
    several = [garden.another(Terms(RETIRE, look=10.0)) for _ in range(5)]
    ones = []
    for jump in (0, 3600, 3600, -3600, -3600, 0):
        turned.turn_to(jump)
        eventually(partial(is_ahead, turned_server, jump))
        looked = await asyncio.gather(*(one.look() for one in several))
        ones.append(looked.index(True))
        assert looked.count(True) == 1
        garden.now += 10.0
    assert (
        len(set(ones[2:5])) == 1
    )  # set forward, the clock ends its time, and another may be first; set back it does not
    await shelf.commands.aclose()


async def test_a_caretaker_that_is_gone_is_followed_also_if_the_clock_was_set_back(
    turned_server: RedisServer, turned: TurnedClock
) -> None:
    shelf = Shelf(turned_server.url, "t")
    garden = Garden(shelf)
    gone, other = (garden.another(Terms(RETIRE, look=10.0)) for _ in range(2))
    assert await gone.look()
    turned.turn_to(-3600)
    eventually(partial(is_ahead, turned_server, -3600))
    assert not await other.look()
    garden.now += 29.0
    assert not await other.look()
    garden.now += 1.0
    assert await other.look()
    assert not await gone.look()
    await shelf.commands.aclose()


async def test_what_the_configuration_declares_does_not_retire(garden: Garden) -> None:
    kept, names = garden.shelf.kept, garden.shelf.names
    for node in ("shop", "books"):
        entry = Reading(node, "n", "all", 1, node, 1).entry(retired=5)
        await garden.shelf.commands.execute("HSET", names.readings(), f"{node} n", entry)
    await kept.see({"shop"}, {})
    found, now = await garden.readings(), await kept.now()
    assert [one.group for one in retired(list(found.values()), now)] == ["books"]
    assert retired([found["shop n"]], now + UNSEEN + 10_000) == [found["shop n"]]


async def test_what_a_node_that_runs_does_not_read_any_more_retires(garden: Garden) -> None:
    kept, names = garden.shelf.kept, garden.shelf.names
    for pattern in ("orders", "order.*"):
        entry = Reading("shop", pattern, "all", 1, "shop", 1).entry()
        await garden.shelf.commands.execute("HSET", names.readings(), f"shop {pattern}", entry)
    await kept.see({"shop"}, {"shop": {("shop", "order.*")}})
    found, now = await garden.readings(), await kept.now()
    assert [one.pattern for one in retired(list(found.values()), now)] == ["orders"]


def test_of_a_node_that_has_yet_to_start_nobody_knows_what_it_reads() -> None:
    durable = SubscriptionRecord("order.*", group="shop")

    def copy(number: int, state: str) -> Instance:
        return Instance(
            f"shop.{number}", 1, 9e9, About("shop", "", 7, 0.0, 6.0), Stats(state, subscriptions=(durable,))
        )

    assert reads([copy(0, "running"), copy(1, "running")]) == {"shop": {("shop", "order.*")}}
    assert reads([copy(0, "running"), copy(1, "starting")]) == {}


def test_declared_are_nodes_that_run_that_were_stopped_and_that_are_broken() -> None:
    def program(node: str, **members: str) -> Program:
        return Program(f"{node}.0", "node", node, (), 1, members=members)

    plan = Plan((program("pool", shop="x.py"),), (program("books"),), (Problem("broken", "why"),))
    assert declared(plan) == {"pool", "shop", "books", "broken"}


async def test_an_empty_topic_that_nobody_sends_or_reads_is_removed_and_one_with_messages_is_not(
    garden: Garden,
) -> None:
    for topic, keep in (("empty", "0.01s"), ("full", "1h"), ("last", "2")):
        await garden.shelf.kept.announce(topic, durable=False, keep=keep)
        await garden.send(topic)
    await garden.shelf.commands.execute("XADD", garden.shelf.names.letters("dead"), "*", "b", "x")
    await garden.shelf.kept.announce("dead", durable=False, keep="0.01s")

    async def are_gone() -> bool:
        await garden.later()
        return [one.topic for one in await garden.shelf.kept.topics()] == ["dead", "full"]

    await until(are_gone)
    assert await garden.shelf.length("full") == 3
    assert not await garden.shelf.commands.execute("EXISTS", garden.shelf.names.producers("empty"))


async def test_a_simulated_year_of_churn_ends_with_as_many_keys_as_it_began(garden: Garden) -> None:
    shelf = garden.shelf
    await shelf.commands.execute("HSET", shelf.names.node("a.0"), "incarnation", 1)  # it lives
    await shelf.kept.announce("stays", durable=False, keep="1h")
    await garden.send("stays")
    before = await garden.keys()
    for week in range(52):
        await _a_node_lives_and_dies(garden, week)

    async def is_as_before() -> bool:
        await garden.later()
        assert await garden.keys() == before
        return True

    await until(is_as_before, within=20)


async def _a_node_lives_and_dies(garden: Garden, week: int) -> None:
    """With a topic of its own, a reader that leaves something parked, a successor that takes over, and a sender."""
    shelf, topic, node = garden.shelf, f"topic-{week}", f"node-{week}"
    await shelf.kept.announce(topic, durable=True, keep="0.01s")
    for read in (topic, "stays"):
        await shelf.kept.read(node, read, "all")
    await garden.send(topic, f"{node}.0")
    await append(shelf.functions, shelf.names, "stays", (f"{node}.1", 1), 1, [b"1"])
    lives = [Reader(node, f"{node}.{number}", 1) for number in range(3)]
    words = ("XREADGROUP", "GROUP", node, lives[0].consumer, "STREAMS", shelf.names.stream(topic), ">")
    ((_, entries),) = await shelf.commands.execute(*words)
    await shelf.streams.park(topic, lives[0], entries[0][0], 60.0)
    await shelf.streams.take_over(topic, lives[1], lives[0])
    for name in (f"k{node} key", f"g{node} {node}.0", f"f{node}"):
        await shelf.commands.execute("HSET", shelf.names.order("stays"), name, 1)
    await shelf.commands.execute("HSET", shelf.names.memory("stays"), f"{node} 1 a.0", "1000 1-3@5")
    await Heirs(shelf.commands, shelf.names, 1.0).leave(lives[2])
    await garden.later()


def test_a_node_that_is_restarted_often_leaves_no_more_than_one_that_was_started_once(hive: HiveTest) -> None:
    class Shop(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload: int) -> None:
            self.send("packed", payload)

    class Till(Node):
        @service("order", durable=True)
        async def sell(self, service: AsyncService) -> int:
            service.send(1)
            await service.flush()
            return 1

    names = Names(hive.settings.name)

    async def sizes() -> list[int]:
        async with Commands(Endpoint.parse(hive.settings.redis_url)) as commands:
            found = [await commands.execute("HLEN", key) for key in (names.producers("order"), names.readers())]
            return [*found, len(await commands.execute("XINFO", "CONSUMERS", names.stream("order"), "shop"))]

    after = []
    for _ in range(8):
        shop, till = hive.start(Shop), hive.start(Till)
        hive.expect("packed", timeout=10)
        hive.stop(shop)
        hive.stop(till)
        after.append(asyncio.run(sizes()))
    assert max(after[2:]) <= after[1], after
    hive.expect_none("packed")
