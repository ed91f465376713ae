"""A hive whose Redis breaks in every way: nobody is restarted for it, and messages flow again after each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .hive_kit import hive_in
from .redis_troubles import (
    Store,
    Trouble,
    blocked,
    flushed,
    frozen,
    full,
    locked,
    out_of_memory,
    restarted,
    restarted_empty,
    slow,
)
from .waiting import eventually

LOSING: tuple[Trouble, ...] = (restarted_empty, flushed)  # what Redis had is gone
SHORT: tuple[Trouble, ...] = (restarted, flushed, locked)
ALL: tuple[Trouble, ...] = (
    restarted,
    restarted_empty,
    flushed,
    out_of_memory,
    full,
    locked,
    frozen,
    blocked,
    slow,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with hive_in(tmp_path / "gotham") as hive:
        made = Store(hive)
        made.open()
        yield made


@pytest.mark.timeout(180)
def test_redis_killed_emptied_and_locked_restarts_nobody_and_messages_flow_again(store: Store) -> None:
    goes_through(store, SHORT)


@pytest.mark.drill
@pytest.mark.timeout(400)
def test_whatever_befalls_redis_nobody_is_restarted_and_messages_flow_again(store: Store) -> None:
    goes_through(store, ALL)


def goes_through(store: Store, troubles: tuple[Trouble, ...]) -> None:
    pids, may_be_lost = store.pids, set[int]()
    for trouble in troubles:
        handled = max(store.noted("got-order"))
        with trouble(store):
            pass
        store.flows()
        assert store.pids == pids, f"{trouble.__name__} restarted somebody"
        if trouble in LOSING:
            may_be_lost |= set(range(handled, max(store.noted("got-order"))))
    store.close()
    sent = store.noted("sent-order")
    assert set(sent) - set(store.noted("got-order")) <= may_be_lost
    eventually(lambda: every_live_one_is_accounted_for(store))
    said = [line for line in store.hive.log("till").splitlines() if "hivemind.redis" in line]
    assert len(said) <= 4 * len(troubles), "\n".join(said)


def every_live_one_is_accounted_for(store: Store) -> bool:
    """What was handled, and what is known to be missed, is what was sent since it was subscribed to."""
    records = store.stats("shop.0")["subscriptions"]
    assert isinstance(records, list)
    (live,) = (one for one in records if one["pattern"] == "tick")
    assert (live["duplicate"], live["dropped"]) == (0, 0)
    got = store.noted("got-tick")
    sent = [number for number in store.noted("sent-tick") if number >= got[0]]
    assert len(got) + live["missed"] == len(sent), live
    return True
