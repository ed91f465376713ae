"""Durable delivery with a fault at every step: whatever is killed, cut or frozen, between whichever two steps of its
tasks, what is promised is kept.

Each test lets the same happen again and again, with the fault one step later each time. The suite takes each SPARSE-th
step, the others by ``HIVEMIND_TEST_LONG=1``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from .hand_loop import Clock
from .lives_kit import Being, World, shop, till
from .servers import RedisServer

pytestmark = pytest.mark.filterwarnings(  # a killed life leaves open what a killed process leaves to the kernel
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

IS_LONG = bool(os.environ.get("HIVEMIND_TEST_LONG"))
_hives = itertools.count()


@pytest.fixture
def clock() -> Iterator[Clock]:
    made = Clock()
    with made.installed():
        yield made


def busy(world: World) -> tuple[Being, Being]:
    """A reader and a sender that have begun, and messages of all kinds that are just being sent."""
    reader, sender = world.up(world.begin(shop)), world.up(world.begin(till))
    world.send(sender)
    world.settle()
    for plan in ({}, {"fails": 1}, {"rejects": True}, {}, {"fails": 9}, {"fails": 2}, {}):
        world.send(sender, **plan)
    return reader, sender


def sweep(
    server: RedisServer, clock: Clock, name: str, fault: Callable[[World, Being, Being], None], every: int = 1
) -> Iterator[World]:
    """Worlds in which ``fault`` happened one step later each, until there is nothing more to disturb."""
    stride = 1 if IS_LONG else every
    for steps in itertools.count(0, stride):
        world = World(server, f"{name}-{next(_hives)}", clock)
        try:
            reader, sender = busy(world)
            world.steps(steps)
            is_over = world.is_done()
            fault(world, reader, sender)
            assert world.until(world.is_done), f"after {steps} steps: {world}"
            yield world
        except AssertionError as error:
            raise AssertionError(f"a fault after {steps} steps: {error}") from None
        finally:
            world.close()
        if is_over:
            return


def test_a_reader_killed_at_any_step_and_begun_again(server: RedisServer, clock: Clock) -> None:
    def fault(world: World, reader: Being, sender: Being) -> None:
        world.kill(reader)
        world.begin(shop)

    for world in sweep(server, clock, "again", fault, every=7):
        world.verdict()


def test_a_reader_killed_at_any_step_whose_copy_goes_on(server: RedisServer, clock: Clock) -> None:
    def fault(world: World, reader: Being, sender: Being) -> None:
        world.kill(reader)
        world.begin(shop, 1)

    for world in sweep(server, clock, "copy", fault, every=7):
        world.verdict()


def test_connections_cut_at_any_step(server: RedisServer, clock: Clock) -> None:
    def fault(world: World, reader: Being, sender: Being) -> None:
        world.lose(reader)
        world.lose(sender)

    for world in sweep(server, clock, "cut", fault, every=7):
        world.verdict()
        assert all(one.begun == 1 + one.failed - (not one.ended) for one in world.messages.values()), world.messages


def test_redis_killed_at_any_step(own_server: RedisServer, clock: Clock) -> None:
    def fault(world: World, reader: Being, sender: Being) -> None:
        world.restart()

    for world in sweep(own_server, clock, "redis", fault, every=14):
        world.verdict()
        assert all(one.begun == 1 + one.failed - (not one.ended) for one in world.messages.values()), world.messages


def test_a_reader_frozen_at_any_step_whose_copy_goes_on(server: RedisServer, clock: Clock) -> None:
    def fault(world: World, reader: Being, sender: Being) -> None:
        world.freeze(reader)
        world.begin(shop, 1)
        world.turn(10.0)
        world.thaw(reader)

    for world in sweep(server, clock, "frozen", fault, every=14):
        world.verdict(in_order=False)


def test_a_sender_killed_at_any_step(server: RedisServer, clock: Clock) -> None:
    def fault(world: World, reader: Being, sender: Being) -> None:
        world.kill(sender)
        world.begin(till)

    for world in sweep(server, clock, "sender", fault, every=7):
        world.verdict()
