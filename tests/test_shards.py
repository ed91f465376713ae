"""Live messages over all shards of a Cluster, as far as it needs no servers: what is wanted, and from where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.cluster import SlotMap, slot_of
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.receiving import LiveSubscription
from hivemind.bus.sharded_live import ShardedLive
from hivemind.bus.sharded_outbox import ShardedOutbox
from hivemind.states import LinkState

pytestmark = pytest.mark.timeout(30)


A, B = ("127.0.0.1", 1), ("127.0.0.1", 2)  #: nobody is there
ALL_AT_A = SlotMap(ranges=((0, 16383, A),), nodes=frozenset({A, B}), epoch=1, is_ok=True)


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    """A process in a Cluster of which nobody knows anything yet."""
    made = Bus(Endpoint.parse("redis+cluster://127.0.0.1:1"), "t", "bruce.0")
    made.identify("bruce.0", 1)
    made.spread()
    yield made
    await made.aclose()


@pytest.fixture
def live(bus: Bus) -> ShardedLive:
    """Its subscriptions, with a home that is up as far as it knows."""
    assert isinstance(bus.live, ShardedLive)
    bus.live.link.state = LinkState.UP
    return bus.live


# -- receiving


async def test_on_a_topic_that_is_new_to_a_subscription_losses_are_counted_from_the_first(live: ShardedLive) -> None:
    exact, pattern = LiveSubscription("n.old"), LiveSubscription("n.*")
    live.add(exact)
    live.add(pattern, resolved=True)
    live.widen(["n.old"])
    for one in (exact, pattern):
        one.ledger.ready = 1.0
    live.widen(["n.old", "n.new"])
    assert (exact.ledger.new_topics, pattern.ledger.new_topics) == (set(), {"n.new"})


async def test_a_pattern_that_redis_matched_until_now_finds_no_topic_new(live: ShardedLive) -> None:
    pattern = LiveSubscription("n.*")
    live.add(pattern)
    pattern.ledger.ready = 1.0
    live.add(pattern, resolved=True)
    live.widen(["n.old"])
    assert pattern.ledger.new_topics == set()


async def test_nothing_is_confirmed_while_nobody_is_known_to_serve_it(live: ShardedLive) -> None:
    live.add(LiveSubscription("x"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(live.confirmed(), 0.05)


# -- sending


async def test_what_a_shard_sends_elsewhere_goes_on_counting(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, shards = bus.outbox, bus.shards
    assert isinstance(outbox, ShardedOutbox)
    assert shards is not None
    shards.enter(ALL_AT_A, set())
    waited: list[int] = []
    settle = outbox.spool.settle

    def noted(messages: int, size: int) -> None:
        settle(messages, size)
        waited.append(outbox.waiting)

    monkeypatch.setattr(outbox.spool, "settle", noted)
    for _ in range(10):
        bus.send("x", 1)
    outbox.spool.hand_out()
    carrier = outbox.shards.at(A)
    carrier.link.state, carrier.link.is_writable = LinkState.UP, True
    carrier.flush()
    carrier.link_received(b":1\r\n" + b"-MOVED %d 127.0.0.1:2\r\n" % slot_of("x") * 9)
    assert (waited, outbox.waiting) == ([9], 9)
    assert [sequence for _, _, sequence, _ in outbox.shards.at(B).lane.queued()] == list(range(2, 11))
    carrier.link.state = LinkState.CONNECTING
