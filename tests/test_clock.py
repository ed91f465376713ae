"""The clock of Redis, or of a node's machine, is set by an hour, under who works: nobody dies of it, nobody's number is
taken, and nothing happens too early or an hour too late.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hivemind.bus.streams import Reader
from hivemind.data.registry import Registry
from hivemind.data.standby import Standby
from hivemind.errors import InstanceHeld

from .bus_kit import on_bus, passes, until
from .clock_kit import HOUR, TurnedClock
from .node_kit import NodeProcess, Workshop, workshop
from .servers import RedisServer
from .test_heart import living
from .test_registry import STATS, about, gone, registry, registry_of
from .test_streams import GROUP, Table
from .waiting import eventually

pytestmark = pytest.mark.timeout(60)
LEASE = 0.6
BOTH = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])


def told(server: RedisServer) -> float:
    return int(server.command("TIME")[0]) - time.time()


def is_ahead(server: RedisServer, seconds: int) -> bool:
    """Whether the server goes by its clock as it was turned: it looks at that once a turn of its loop."""
    return abs(told(server) - seconds) < 5


def test_the_clock_of_a_server_is_turned(turned_server: RedisServer, turned: TurnedClock) -> None:
    for at in (HOUR, -HOUR, 0):
        turned.turn_to(at)
        eventually(partial(is_ahead, turned_server, at))


def waiting(book: Registry) -> Callable[[], Awaitable[int]]:
    """Somebody on another machine who wants to be batman.0: 0 while that is another."""
    standby = Standby(book, LEASE)

    async def asks() -> int:
        try:
            return await standby.register("batman.0", about(LEASE), STATS)
        except InstanceHeld:
            return 0

    return asks


# -- numbers


@BOTH
@pytest.mark.every_server
async def test_who_lives_keeps_its_number_whoever_wants_it(
    turned_server: RedisServer, turned: TurnedClock, jump: int
) -> None:
    async with living(turned_server, LEASE) as (bus, heart, book, fenced), registry(turned_server) as other:
        watches, comes = waiting(other), waiting(other)
        assert not await watches()
        turned.turn_to(jump)
        assert not await comes()  # at the moment at which nobody seems to live
        begun = time.monotonic()
        while time.monotonic() - begun < 4 * LEASE:
            assert not await watches()
            assert not await comes()
            await passes(LEASE / 10)
        assert not fenced
        assert await book.newest("batman.0") == bus.incarnation
        await until(lambda: _is(heart.may_speak()))


async def _is(value: bool) -> bool:
    return value


@BOTH
@pytest.mark.parametrize("has_watched", [True, False])
async def test_who_died_is_replaced_after_a_lease_also_if_redis_says_that_it_lives_for_an_hour(
    turned_server: RedisServer, turned: TurnedClock, jump: int, has_watched: bool
) -> None:
    async with registry(turned_server) as book:
        await book.register("batman.0", replace(about(LEASE), process=replace(gone(), host="elsewhere")), STATS)
        asks = waiting(book)
        if has_watched:
            assert not await asks()
        turned.turn_to(jump)
        begun = time.monotonic()
        await until(asks, within=10 * LEASE)
        assert time.monotonic() - begun > LEASE / 2


async def test_who_said_goodbye_or_was_seen_to_die_is_replaced_at_once(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        life = await book.register("batman.0", about(), STATS)
        await book.deregister("batman.0", life)
        second = await waiting(book)()
        server.command("HSET", f"hm:{{{hive_name}}}:readers", "batman.0", second)
        server.command("DEL", f"hm:{{{hive_name}}}:node:batman.0")
        assert 0 < life < second < await waiting(book)()


async def test_who_lives_keeps_its_number_though_redis_lost_its_data(own_server: RedisServer) -> None:
    async with living(own_server, LEASE) as (_, _, _, fenced), registry(own_server) as other:
        asks = waiting(other)
        assert not await asks()
        own_server.command("FLUSHALL")
        begun = time.monotonic()
        while time.monotonic() - begun < 2 * LEASE:
            assert not await asks()
        assert not fenced


async def test_a_life_that_came_back_and_lost_its_lease_again_between_two_looks_is_seen_to_live(
    server: RedisServer, hive_name: str
) -> None:
    async with on_bus(server.url, "root.0", hive_name) as bus:
        book = registry_of(bus)
        node, me = bus.names.node("batman.0"), replace(about(LEASE), process=replace(gone(), host="elsewhere"))
        life = await book.register("batman.0", me, STATS)
        server.command("DEL", node)  # its lease has ended: it stands still, or Redis's clock was set
        asks = waiting(book)
        begun = time.monotonic()
        while time.monotonic() - begun < 0.7 * LEASE:
            assert not await asks()
        await book.register_again("batman.0", life, me, STATS)
        server.command("DEL", node)
        while time.monotonic() - begun < 1.5 * LEASE:
            assert not await asks()
        await until(asks, within=10 * LEASE)


async def test_who_waited_while_redis_was_away_and_lost_its_data_comes_after_the_life_that_he_saw(
    own_server: RedisServer,
) -> None:
    async with registry(own_server) as book:
        ahead = int((time.time() + HOUR) * 1000)  # it registered before the clock was set back
        await book.register_again("batman.0", ahead, replace(about(LEASE), process=None), STATS)
        standby = Standby(book, LEASE)
        with pytest.raises(InstanceHeld):
            await standby.register("batman.0", about(LEASE), STATS)
        own_server.command("FLUSHALL")
        standby.start_afresh()  # as after an error
        begun = time.monotonic()
        with pytest.raises(InstanceHeld):
            await standby.register("batman.0", about(LEASE), STATS)
        life = 0
        while not life:
            with contextlib.suppress(InstanceHeld):
                life = await standby.register("batman.0", about(LEASE), STATS)
        assert time.monotonic() - begun >= LEASE
        assert life == ahead + 1


async def test_a_lease_that_moved_meanwhile_is_not_taken_over(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "root.0", hive_name) as bus:
        book = registry_of(bus)
        life = await book.register("batman.0", about(), STATS)
        with pytest.raises(InstanceHeld) as held:
            await book.register("batman.0", about(), STATS)
        await passes(0.02)
        await book.renew("batman.0", life, 6.0, STATS)
        with pytest.raises(InstanceHeld):
            await book.register("batman.0", about(), STATS, held.value)
        assert await book.renew("batman.0", life, 6.0, STATS)


# -- what waits for its next try


async def parked(table: Table, jump: Callable[[], None], delay: float) -> float:
    """In how many seconds what an ended life had parked is due for its heir, after a jump."""
    await table.streams.join("n", GROUP, "0")
    await table.append("n", 1, 1, [b"1"])
    dead, heir = Reader(GROUP, "shop.0", 1), Reader(GROUP, "shop.1", 1)
    ((entry, _),) = await table.read("n", dead)
    await table.streams.park("n", dead, entry, delay)
    jump()
    (held,) = await table.streams.take_over("n", heir, dead)
    ((again, fields),) = [(one.held, one.fields) for one in await table.streams.owned("n", heir, b"-", 10)]
    assert again.wait == pytest.approx(held.wait or 0.0, abs=1.0)
    assert fields
    return held.wait if held.wait is not None else -1.0


@pytest.mark.every_server
@pytest.mark.parametrize("delay", [0.0, 2.0, 60.0, 30 * 86_400.0])
async def test_an_inherited_retry_waits_no_longer_than_it_was_to_wait(
    turned_server: RedisServer, turned: TurnedClock, delay: float
) -> None:
    table = Table(turned_server.url, "t")

    def jump() -> None:
        turned.turn_to(-HOUR)
        eventually(lambda: is_ahead(turned_server, -HOUR))

    wait = await parked(table, jump, delay)
    assert max(0.0, delay - 5.0) <= wait <= delay * 1.01 + 0.1
    await table.commands.aclose()


async def test_an_inherited_retry_is_not_early_where_an_heir_saw_the_clock_jump(
    turned_server: RedisServer, turned: TurnedClock
) -> None:
    table = Table(turned_server.url, "t")

    def look() -> None:
        now = time.monotonic()
        table.streams.jumps.saw(told(turned_server) + time.time(), now, now)

    def jump() -> None:
        look()
        turned.turn_to(HOUR)
        eventually(lambda: is_ahead(turned_server, HOUR))
        look()

    assert await parked(table, jump, 60.0) == pytest.approx(60.0, abs=5.0)
    await table.commands.aclose()


# -- nodes

ORDERS = """
    from hivemind import Node, service

    class Orders(Node):
        @service("order", durable=True)
        def sell(self, service):
            service.send(1)
            service.flush()
            return 1
"""
SHOP = """
    import time
    from hivemind import Node, Retry, service, subscription

    class Shop(Node):
        @subscription("order", durable=True, since="all")
        def pack(self, payload, message):
            print("tried", time.monotonic(), flush=True)
            if message.deliveries == 1:
                raise Retry(delay=14.0)

        @service("tick", every=0.25)
        def tick(self, service):
            print("tick", flush=True)
"""


@pytest.fixture
def shop(tmp_path: Path, turned_server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, turned_server, hive_name) as made:
        made.write("orders.py", ORDERS)
        made.write("shop.py", SHOP)
        yield made


def tried(process: NodeProcess) -> float:
    found = re.search(r"^tried ([\d.]+)$", process.output, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.drill
@BOTH
def test_what_a_killed_node_had_put_off_is_tried_by_its_copy_neither_early_nor_an_hour_late(
    shop: Workshop, turned: TurnedClock, jump: int
) -> None:
    first = shop.run("shop.py", "--number", "0")
    first.says("running")
    shop.run("orders.py")
    eventually(lambda: tried(first), within=20)
    second = shop.run("shop.py", "--number", "1")
    second.says("tick", times=9)  # it has looked at who else reads
    turned.turn_to(jump)
    second.says("tick", times=18)  # and again
    first.process.kill()
    eventually(lambda: tried(second), within=40)
    assert 13.0 < tried(second) - tried(first) < 30.0
    assert "standing by" not in second.output


@BOTH
def test_services_and_beats_of_a_node_go_on_when_its_machines_clock_is_set(
    shop: Workshop, server: RedisServer, turned: TurnedClock, jump: int
) -> None:
    node = shop.run("shop.py", HIVEMIND_REDIS_URL=server.url, **turned.environment)
    node.says("running")
    turned.turn_to(jump)
    begun, ticks = time.monotonic(), node.output.count("tick\n")
    node.says("tick\n", times=ticks + 12)
    assert time.monotonic() - begun > 2.0  # neither all at once nor in an hour
    assert "lease" not in node.output
    assert node.process.poll() is None
