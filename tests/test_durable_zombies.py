"""Readers that stood still while others took over: what they hold is not theirs any more, and they have to notice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.streams import Reader
from hivemind.data.group import Group
from hivemind.data.heartbeat import Heart
from hivemind.data.heirs import Heirs, say_that_it_ended
from hivemind.topics import Names

from .hand_loop import Clock
from .lives_kit import GROUP, LEASE, TOPIC, World, shop, till
from .servers import RedisServer

pytestmark = pytest.mark.filterwarnings(  # a killed life leaves open what a killed process leaves to the kernel
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def world(own_server: RedisServer, hive_name: str) -> Iterator[World]:
    clock = Clock()
    with clock.installed():
        made = World(own_server, hive_name, clock)
        yield made
        made.close()


def test_what_was_not_begun_when_its_reader_froze_is_not_begun_by_it_when_others_took_over(world: World) -> None:
    frozen, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    world.send(sender, holds=True)
    for _ in range(5):
        world.send(sender)
    world.settle()
    world.freeze(frozen)
    copy = world.up(world.begin(shop, 1))
    world.turn(LEASE + 3)
    assert copy.begun == [1]
    world.let_go()
    world.settle()
    assert copy.begun == [1, 2, 3, 4, 5, 6]
    world.thaw(frozen)
    world.let_go()
    assert world.until(world.is_done)
    assert frozen.begun == [1]
    world.verdict(in_order=False)


def test_nor_is_it_behind_a_second_try_that_was_under_way(world: World) -> None:
    frozen, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    world.send(sender, fails=1, holds=True)
    world.send(sender, holds=True)
    world.settle()
    frozen.inside[1].set()
    world.turn(2.0)  # the second try is due, and comes before what waits longer
    for _ in range(3):
        world.send(sender)
    world.settle()
    frozen.inside[2].set()
    world.settle()
    assert frozen.begun == [1, 2, 1]
    world.freeze(frozen)
    copy = world.up(world.begin(shop, 1))
    world.turn(LEASE + 3)
    world.let_go()
    world.settle()
    world.thaw(frozen)
    world.let_go()
    assert world.until(world.is_done), world
    assert frozen.begun == [1, 2, 1]
    assert copy.begun == [1, 3, 4, 5]
    world.verdict(in_order=False)


def test_what_redis_gave_to_a_reader_that_was_frozen_is_handled_by_others_alone(world: World) -> None:
    frozen, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    world.send(sender)
    world.settle()
    world.freeze(frozen)
    for _ in range(5):
        world.send(sender)
    copy = world.up(world.begin(shop, 1))
    world.turn(LEASE + 3)
    assert copy.begun == [2, 3, 4, 5, 6]
    world.thaw(frozen)
    world.turn(3)
    assert frozen.begun == [1]
    world.send(sender)
    assert world.until(world.is_done)
    world.verdict(in_order=False)


def test_who_was_cut_off_for_a_lease_takes_nothing_before_it_knows_that_its_life_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = Heart.beat

    async def late(heart: Heart) -> None:
        await asyncio.sleep(1.0)
        await beat(heart)

    cut_off, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    world.freeze(cut_off)
    world.cut()
    world.turn(LEASE + 1)
    successor = world.up(world.begin(shop))
    world.freeze(successor)
    for _ in range(30):
        world.send(sender)
    world.settle()
    monkeypatch.setattr(Heart, "beat", late)
    world.thaw(cut_off)
    world.turn(0.8)
    assert cut_off.life.bus.incarnation not in world.holders()
    monkeypatch.undo()
    world.thaw(successor)
    assert world.until(world.is_done)
    assert (cut_off.begun, successor.begun) == ([], list(range(1, 31)))
    world.verdict()


def test_a_reader_that_thaws_before_its_lease_ends_goes_on_with_what_it_holds(world: World) -> None:
    frozen, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    copy = world.up(world.begin(shop, 1))
    world.freeze(copy)
    world.send(sender, holds=True)
    for _ in range(3):
        world.send(sender)
    world.settle()
    world.thaw(copy)
    world.freeze(frozen)
    world.turn(LEASE / 2)
    world.thaw(frozen)
    world.let_go()
    assert world.until(world.is_done)
    assert (frozen.begun, copy.begun) == ([1, 2, 3, 4], [])
    world.verdict()


def test_who_thaws_just_before_others_take_over_goes_on_with_what_it_holds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    for _ in range(3):
        world.send(sender, holds=True)
    world.settle()
    world.freeze(frozen)
    heir = world.up(world.begin(shop, 1))
    take_over = Group._take_over

    async def late(group: Group, ended: Reader, topics: list[str]) -> None:
        world.freeze(heir)  # it has seen that the other is silent
        await asyncio.sleep(0)
        await take_over(group, ended, topics)

    monkeypatch.setattr(Group, "_take_over", late)
    while not heir.is_frozen:
        world.turn(0.4)
    monkeypatch.undo()
    world.thaw(frozen)
    frozen.inside[1].set()
    world.settle()
    world.thaw(heir)
    world.settle()
    world.let_go()
    assert world.until(world.is_done), world
    assert (frozen.begun, heir.begun) == ([1, 2, 3], [])
    world.verdict()


def test_who_goes_on_as_a_newer_reader_and_is_killed_then_is_replaced_as_soon_as_that_is_told(world: World) -> None:
    frozen, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    world.send(sender)
    world.settle()
    world.freeze(frozen)
    world.send(sender)
    copy = world.up(world.begin(shop, 1))
    world.turn(LEASE + 3)
    world.thaw(frozen)
    world.turn(3)
    world.freeze(copy)  # so that the other gets one, too
    for holds in (False, True):
        world.send(sender, holds=holds)
        world.settle()
    world.thaw(copy)
    world.turn(1)
    assert (frozen.begun, copy.begun) == ([1, 4], [2, 3])
    world.kill(frozen)
    world.turn(LEASE / 2)
    assert copy.begun == [2, 3]
    tell = say_that_it_ended(copy.life.bus.commands, world.names, "shop.0", frozen.life.bus.incarnation)
    assert world.until(world.spawn(copy, tell).done)
    world.turn(1)
    assert copy.begun == [2, 3, 4]
    world.let_go()
    assert world.until(world.is_done), world
    world.verdict(in_order=False)


def test_a_handler_that_takes_a_hundred_leases_runs_once(world: World) -> None:
    reader, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    copy = world.up(world.begin(shop, 1))
    world.send(sender, holds=True)
    world.turn(100 * LEASE)
    world.let_go()
    assert world.until(world.is_done)
    assert sorted([*reader.begun, *copy.begun]) == [1]


def test_a_reader_cut_off_for_longer_than_a_lease_begins_nothing_until_it_knows(world: World) -> None:
    reader, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    world.send(sender, holds=True)
    for _ in range(4):
        world.send(sender)
    world.settle()
    world.stall()  # nobody answers: others might have taken over, for all that it knows
    world.turn(LEASE + 1)
    world.let_go()
    world.turn(1)
    assert reader.begun == [1]
    world.resume()
    assert world.until(world.is_done)
    assert reader.begun == [1, 2, 3, 4, 5]
    world.verdict()


def test_a_try_that_a_polite_stop_left_unbegun_counts_for_nothing(world: World) -> None:
    sender = world.up(world.begin(till))
    for tries in ([1], [1, 2], [1, 2, 3]):
        reader = world.up(world.begin(shop))
        fails = world.messages.get(1) or world.send(sender, fails=9, holds=True)
        assert world.until(partial(reader.inside.__contains__, 1))
        assert fails.tries == tries
        busy = world.send(sender, holds=True)
        world.settle()
        reader.inside[1].set()
        world.turn(2.0)  # its next try is due, and waits behind the other
        stopping = world.spawn(reader, world._stop(reader))
        world.steps(50)
        reader.inside[busy.number].set()
        assert world.until(stopping.done)
        world.kill(reader)
    assert world.letters() == {1: 1}


def test_readers_that_stood_still_together_take_over_from_nobody(world: World) -> None:
    reader, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    copy = world.up(world.begin(shop, 1))
    world.turn(2.5)
    world.freeze(copy)
    for _ in range(3):
        world.send(sender, holds=True)
    world.settle()
    world.thaw(copy)
    world.turn(2.5)
    world.freeze(reader)
    world.freeze(copy)
    world.turn(LEASE + 4)
    world.thaw(copy)  # it is the first to look
    world.settle()
    world.thaw(reader)
    world.let_go()
    assert world.until(world.is_done)
    assert (reader.begun, copy.begun) == ([1, 2, 3], [])


async def test_who_stood_still_himself_while_redis_answered_takes_nobody_for_dead(own_server: RedisServer) -> None:
    clock, names = Clock(), Names("t")
    me, other = Reader(GROUP, "shop.1", 1), Reader(GROUP, "shop.0", 1)
    async with Commands(Endpoint.parse(own_server.url)) as commands:
        heirs = Heirs(commands, names, 3.0)
        await commands.execute("HSET", names.node("shop.0"), "incarnation", 1)
        await commands.execute("PEXPIRE", names.node("shop.0"), 60_000)
        with clock.installed():
            assert await heirs.ended(me, [other]) == []
            own_server.freeze()
            looking = asyncio.create_task(heirs.ended(me, [other]))
            await asyncio.sleep(0)
            clock.ahead += 4.0
            own_server.thaw()
            assert await looking == []
            for _ in range(3):
                clock.ahead += 2.0
                found = await heirs.ended(me, [other])
            assert found == [other]


@pytest.mark.parametrize("left", ["fence", "goodbye", "reader"])
def test_what_dead_lives_left_when_the_clock_was_ahead_holds_up_nobody_who_begins_now(
    world: World, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    world.send(sender)
    assert world.until(world.is_done)
    world.kill(first)
    tomorrow = int(world.ask("TIME")[0] + "000") + 86_400_000
    world.send(sender)
    world.settle()
    if left == "fence":
        world.ask("HSET", world.names.producers(TOPIC), f"taken:{GROUP}:shop.0", tomorrow)
    elif left == "goodbye":
        world.ask("HSET", world.names.readers(), f"{GROUP} shop.0", tomorrow)
    else:
        world.ask("XREADGROUP", "GROUP", GROUP, f"shop.0.e{tomorrow}", "STREAMS", world.stream, ">")
    world.up(world.begin(shop))
    world.up(world.begin(shop, 1))
    world.turn(3.0)
    for _ in range(3):
        world.send(sender)
    assert world.until(world.is_done), world
    assert "took over what this process holds" not in caplog.text
    world.verdict(in_order=False)
