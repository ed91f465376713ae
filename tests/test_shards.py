"""Messages over all shards of a Cluster, as far as it needs no servers: who serves what, and what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hivemind.bus import cluster as cluster_module
from hivemind.bus import shards as shards_module
from hivemind.bus.bus import Bus
from hivemind.bus.cluster import Address, SlotMap, is_halted, learn, slot_of
from hivemind.bus.commands import Commands
from hivemind.bus.doubts import DOUBT, Doubts
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.receiving import LiveSubscription
from hivemind.bus.sharded_live import ShardedLive
from hivemind.bus.sharded_outbox import ShardedOutbox
from hivemind.bus.shards import STICKY, Shards
from hivemind.errors import RedisDenied, RedisError, RedisUnavailable
from hivemind.states import LinkState

from .waiting import eventually_async

pytestmark = pytest.mark.timeout(30)


A, B, C = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)  #: nobody is there
ALL_AT_A = SlotMap(ranges=((0, 16383, A),), nodes=frozenset({A}), epoch=1, is_ok=True)


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
    live.widen(["n.old", "n.late"])
    live.widen(["n.early"], 0.5)
    live.widen(["n.new"], 2.0)
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


async def test_a_gap_of_a_shard_is_no_gap_of_the_home_and_its_end_is_told(bus: Bus, live: ShardedLive) -> None:
    assert bus.shards is not None
    bus.shards.enter(SlotMap(ranges=((0, 8000, A), (8001, 16383, B))), set())
    told: list[str] = []
    live.on_gap, live.on_back = told.append, lambda: told.append("back")
    shard = live.shards.at(A)
    live.lost(shard, "cut", True)
    live.lost(live.shards.at(B), "cannot connect", False)
    assert (live.gaps, live.link.gaps, told) == (1, 0, ["cut"])
    live.ready(live.shards.at(B))
    live.ready(shard)
    assert told == ["cut", "back"]


# -- who serves what


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shards(clock: Clock) -> Shards:
    endpoint = Endpoint.parse("redis+cluster://127.0.0.1:1")
    made = Shards(endpoint, Commands(endpoint), clock)
    made.enter(ALL_AT_A, set())
    return made


SLOT = slot_of("x")


def test_a_nodes_word_counts_more_than_the_map_for_a_while(shards: Shards, clock: Clock) -> None:
    told: list[Address | None] = []
    shards.on_change.append(lambda: told.append(shards.primary("x")))
    shards.redirected(SLOT, B)
    shards.redirected(SLOT, B)
    assert told == [B]
    clock.now += STICKY - 0.1
    shards.enter(ALL_AT_A, set())
    assert shards.primary("x") == B
    clock.now += 0.2
    shards.enter(ALL_AT_A, set())
    assert (shards.primary("x"), told) == (A, [B, B, A])


def test_the_word_for_a_suspect_counts_for_nothing(shards: Shards) -> None:
    shards.redirected(SLOT, B)
    shards.enter(ALL_AT_A, {B})
    assert shards.primary("x") == A


def test_the_word_for_a_primary_that_was_demoted_counts_for_nothing(shards: Shards) -> None:
    shards.redirected(SLOT, C)
    shards.enter(replace(ALL_AT_A, nodes=frozenset({A, C})), set())
    assert shards.primary("x") == A
    shards.redirected(SLOT, C)
    shards.enter(ALL_AT_A, set())  # which knows nothing of it
    assert shards.primary("x") == C


async def test_looks_at_the_map_that_show_nothing_new_become_rarer(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_module, "REST", 0.001)
    monkeypatch.setattr(shards_module, "LONG_REST", 0.05)
    endpoint = Endpoint.parse("redis+cluster://127.0.0.1:1")
    made, asked, found = Shards(endpoint, Commands(endpoint), Clock()), list[set[Address]](), [ALL_AT_A]

    async def learn_of(addresses: object, open_at: object, first: set[Address]) -> SlotMap:
        asked.append(first)
        made.refresh(B)
        return found[0]

    monkeypatch.setattr(shards_module, "learn", learn_of)
    made.start()
    try:
        await eventually_async(lambda: made._rest.ceiling == 0.05)
        assert asked[:2] == [set(), {B}]
        found[0] = replace(ALL_AT_A, ranges=((0, 16383, B),))
        await eventually_async(lambda: made.primary("x") == B)
        assert made._rest.ceiling < 0.05
    finally:
        await made.aclose()


def test_a_slot_that_nobody_serves_is_nobodys() -> None:
    some = SlotMap(ranges=((5, 9, A), (20, 20, B)))
    assert [some.primary(slot) for slot in (4, 5, 9, 10, 19, 20, 21)] == [None, A, A, None, None, B, None]


# -- whom to ask


def nodes(answers: dict[Address, SlotMap | RedisError], monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """Let nodes answer so when they are asked; returned is who was."""
    asked: list[Address] = []

    async def ask(address: Address, open_at: object) -> SlotMap:
        asked.append(address)
        answer = answers[address]
        if isinstance(answer, RedisError):
            raise answer
        return answer

    monkeypatch.setattr(cluster_module, "_ask", ask)
    return asked


async def nobody(address: Address) -> Any:
    raise AssertionError(address)


async def test_of_those_who_answer_the_one_with_the_newest_epoch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    new, cut_off = replace(ALL_AT_A, epoch=7), replace(ALL_AT_A, epoch=9, is_ok=False)
    nodes({A: ALL_AT_A, B: new, C: cut_off}, monkeypatch)
    assert await learn([A, B, C], nobody) == new


async def test_suspects_are_asked_first_and_others_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = nodes({A: ALL_AT_A, B: RedisUnavailable("gone"), C: RedisUnavailable("gone")}, monkeypatch)
    assert await learn([A], nobody, [B, C], at_once=1) == ALL_AT_A
    assert asked == [B, C, A]


async def test_a_refusal_is_said_rather_than_that_somebody_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes({A: RedisUnavailable("gone"), B: RedisDenied("no"), C: RedisUnavailable("gone")}, monkeypatch)
    with pytest.raises(RedisDenied):
        await learn([A, B, C], nobody)


@pytest.mark.parametrize(("state", "suspected", "halted"), [("ok", 0, False), ("fail", 0, True), ("fail", 5461, False)])
def test_who_is_cut_off_from_the_others_does_not_know_that_nobody_writes(
    state: str, suspected: int, halted: bool
) -> None:
    assert is_halted(b"cluster_state:%b\r\ncluster_slots_pfail:%d\r\n" % (state.encode(), suspected)) is halted
    assert not is_halted(RedisError("no"))


# -- doubts


def test_a_map_has_to_contradict_a_shard_for_a_while(clock: Clock) -> None:
    doubts = Doubts(clock)
    assert not doubts.contradicted(b"c", A)
    clock.now += DOUBT
    assert not doubts.contradicted(b"c", B)  # now it says something else
    clock.now += DOUBT + 0.1
    assert doubts.contradicted(b"c", B)
    doubts.agreed(b"c")
    assert not doubts.contradicted(b"c", B)


def test_of_what_a_shard_has_disowned_the_map_is_believed_at_once(clock: Clock) -> None:
    doubts = Doubts(clock)
    doubts.disowned(b"c")
    doubts.agreed(b"c")
    assert doubts.contradicted(b"c", B)
    doubts.forget(b"c")
    assert not doubts.contradicted(b"c", B)
