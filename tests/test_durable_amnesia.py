"""Redis forgets, is full, or has something else in its place, while durable messages flow: all is made anew, and what
is sent from then on arrives.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .hand_loop import Clock
from .lives_kit import GROUP, LEASE, TOPIC, Being, World, shop, till
from .servers import RedisServer

pytestmark = pytest.mark.filterwarnings(  # a killed life leaves open what a killed process leaves to the kernel
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
KEYS = ("stream", "producers", "retries", "letters", "kept", "readings", "readers")
HARMS: dict[str, list[tuple[str, ...]]] = {
    "everything": [("FLUSHALL",)],
    "functions": [("FUNCTION", "FLUSH")],
    "stream": [("DEL", "{stream}")],
    "group": [("XGROUP", "DESTROY", "{stream}", GROUP)],
    "consumer": [("XGROUP", "DELCONSUMER", "{stream}", GROUP, "{consumer}")],
    "producers": [("DEL", "{producers}")],
    "retries": [("DEL", "{retries}")],
    **{f"{key} is a string": [("SET", f"{{{key}}}", "garbage")] for key in KEYS},
    "stream is a list": [("DEL", "{stream}"), ("RPUSH", "{stream}", "garbage")],
}


@pytest.fixture
def world(own_server: RedisServer, hive_name: str) -> Iterator[World]:
    clock = Clock()
    with clock.installed():
        made = World(own_server, hive_name, clock)
        yield made
        made.close()


def harm(world: World, reader: Being, what: str) -> None:
    names = world.names
    keys = {name: getattr(names, name)(TOPIC) for name in ("stream", "producers", "retries", "letters")}
    keys |= {name: getattr(names, name)() for name in ("kept", "readings", "readers")}
    keys |= {"consumer": f"{reader.life.bus.instance}.e{reader.life.bus.incarnation}"}
    for command in HARMS[what]:
        world.ask(*(word.format(**keys) for word in command))


@pytest.mark.parametrize("what", HARMS)
def test_what_is_sent_after_redis_forgot_arrives(world: World, what: str) -> None:
    world.is_forgotten = True
    reader, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    for plan in ({}, {"fails": 1}, {"rejects": True}, {"fails": 9}, {"holds": True}, {}):
        world.send(sender, **plan)
    world.steps(40)
    harm(world, reader, what)
    before = set(world.messages)
    for plan in ({}, {"fails": 1}, {"rejects": True}, {"fails": 9}, {}):
        world.send(sender, **plan)
    world.let_go()
    world.turn(LEASE)
    assert world.until(world.is_done), world
    letters = world.letters()
    after = [one for number, one in world.messages.items() if number not in before]
    assert all(one.confirmed and (one.ended or letters[one.number]) for one in after), world
    assert not world.faults.found


def test_what_redis_forgot_was_acknowledged_does_not_stay_with_its_reader(world: World) -> None:
    reader, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    for _ in range(3):
        world.send(sender)
    assert world.until(world.is_done), world
    consumer = f"{reader.life.bus.instance}.e{reader.life.bus.incarnation}"
    for entry, _fields in world.ask("XRANGE", world.stream, "-", "+"):  # as if it came back with what it had before
        world.ask("XCLAIM", world.stream, GROUP, consumer, 0, entry, "FORCE", "JUSTID")
    assert world.left() == (3, 0)
    world.cut()
    assert world.until(lambda: world.left() == (0, 0)), world
    assert not world.faults.found


def test_without_memory_readers_go_on_end_and_begin_again(world: World) -> None:
    reader, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    for plan in ({"holds": True}, {"fails": 1}, {"rejects": True}, {"fails": 9}, {}, {}):
        world.send(sender, **plan)
    world.settle()
    world.ask("CONFIG", "SET", "maxmemory", "1")
    world.kill(reader)
    second = world.begin(shop)
    world.turn(LEASE)
    assert world.left() == (6, 0)
    world.let_go()
    world.turn(3.0)
    world.stop(second)
    world.begin(shop)
    assert world.until(lambda: world.left() == (0, 0)), world
    assert world.letters() == {3: 1, 4: 1}
    refused = world.send(sender)
    world.turn(12.0)
    assert not refused.confirmed
    del world.messages[refused.number]
    world.ask("CONFIG", "SET", "maxmemory", "0")
    world.send(sender)
    assert world.until(world.is_done)
    world.verdict()
