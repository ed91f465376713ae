"""Live messages over all shards of a Cluster, as far as it needs no servers: what is wanted, and from where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.receiving import LiveSubscription
from hivemind.bus.sharded_live import ShardedLive
from hivemind.states import LinkState

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def live() -> AsyncIterator[ShardedLive]:
    """Subscriptions over shards that nobody knows, with a home that is up as far as it knows."""
    bus = Bus(Endpoint.parse("redis+cluster://127.0.0.1:1"), "t", "bruce.0")
    assert isinstance(bus.live, ShardedLive)
    bus.live.link.state = LinkState.UP
    bus.spread()
    yield bus.live
    await bus.aclose()


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
