"""When slots move: only what has moved waits until receivers expect it, and in its order; no servers are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hivemind.bus import sharded_outbox
from hivemind.bus.bus import Bus
from hivemind.bus.cluster import SlotMap, slot_of
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.link import Link
from hivemind.bus.sharded_outbox import ShardCarrier, ShardedOutbox
from hivemind.states import LinkState

from .bus_kit import passes
from .waiting import eventually_async

pytestmark = pytest.mark.timeout(30)

A, B = ("127.0.0.1", 1), ("127.0.0.1", 2)  #: nobody is there
MOVING = [f"moving.{number}" for number in range(10)]


@pytest.fixture
async def bus(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    """A process in a Cluster in which B serves only ``staying``, and A all else."""
    monkeypatch.setattr(sharded_outbox, "GRACE", 0.2)
    monkeypatch.setattr(Link, "start", lambda _: None)
    made = Bus(Endpoint.parse("redis+cluster://127.0.0.1:1"), "t", "bruce.0")
    made.identify("bruce.0", 1)
    made.spread()
    slot = slot_of("staying")
    ranges = ((0, slot - 1, A), (slot, slot, B), (slot + 1, 16383, A))
    assert made.shards is not None
    made.shards.enter(SlotMap(ranges=ranges, nodes=frozenset({A, B})), set())
    yield made
    for shard in outbox_of(made).shards:
        shard.link.state = LinkState.CONNECTING
    await made.aclose()


def outbox_of(bus: Bus) -> ShardedOutbox:
    assert isinstance(bus.outbox, ShardedOutbox)
    return bus.outbox


def at(bus: Bus, address: tuple[str, int]) -> tuple[ShardCarrier, list[bytes]]:
    """A shard that is up as far as its carrier knows, and what is written to it."""
    shard, written = outbox_of(bus).shards.at(address), list[bytes]()
    shard.link.state, shard.link.is_writable = LinkState.UP, True
    shard.link.write = written.append  # type: ignore[assignment,method-assign]
    return shard, written


def send(bus: Bus, *topics: str) -> None:
    for topic in topics:
        bus.send(topic, 1)
    outbox_of(bus)._turn()


def move(bus: Bus, *topics: str) -> None:
    assert bus.shards is not None
    for topic in topics:
        bus.shards.redirected(slot_of(topic), B)


async def test_what_has_moved_waits_for_its_moment_and_nothing_else_does(bus: Bus) -> None:
    (old, asked), (_, written) = at(bus, A), at(bus, B)
    send(bus, *MOVING)
    await eventually_async(lambda: asked)
    old.link_received(b":1\r\n" * len(MOVING))
    for turn, topic in enumerate(MOVING, 1):
        move(bus, topic)
        send(bus, topic, "staying")
        await passes(0.06)
        assert b"".join(written).count(b"{staying}") == turn
        assert topic.encode() not in b"".join(written)
    early = b"".join(written)
    assert b"moving.0" in early  # its moment was over before the others had moved
    assert b"moving.9" not in early


async def test_what_was_sent_to_the_old_shard_is_answered_for_before_the_new_one_goes_on(bus: Bus) -> None:
    (old, asked), (_, written) = at(bus, A), at(bus, B)
    send(bus, "moving.1", "moving.2")
    await eventually_async(lambda: asked)
    move(bus, "moving.1", "moving.2")
    send(bus, "moving.1", "moving.2", "staying")
    await passes(0.3)
    assert b"moving" not in b"".join(written)
    old.link_received(b":1\r\n")
    await eventually_async(lambda: b"moving.1" in b"".join(written))
    assert b"moving.2" not in b"".join(written)
    old.link_received(b"-MOVED %d 127.0.0.1:2\r\n" % slot_of("moving.2"))
    await eventually_async(lambda: b"".join(written).count(b"moving.2") == 2)
    text = b"".join(written)
    place = text.index(b"moving.2")
    assert b'"s":1' in text[place : place + 120]
    assert b'"s":2' in text[text.index(b"moving.2", place + 1) :]
    assert outbox_of(bus).waiting == 4  # those to the new shard have no answer


async def test_what_is_held_can_be_dropped_and_moved_on(bus: Bus) -> None:
    (first, asked), (second, _) = at(bus, A), at(bus, B)
    send(bus, "moving.1")
    await eventually_async(lambda: asked)
    first.link_received(b":1\r\n")
    move(bus, "moving.1")
    send(bus, "moving.1", "moving.1", "moving.1")
    assert (len(second.lane), second.is_idle, second.lane.oldest) == (0, False, 2)
    assert second.lane.drop_first() > 0
    assert [number for _, _, number, _ in second.lane.queued()] == [3, 4]
    assert bus.shards is not None
    bus.shards.redirected(slot_of("moving.1"), A)
    assert second.is_idle
    assert [number for _, _, number, _ in first.lane.queued()] == [3, 4]
    assert len(first.lane) == 0
