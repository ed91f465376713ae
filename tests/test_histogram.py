"""How long things took: counted in buckets, packed to travel, read back, and told as quantiles."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.data.histogram import (
    BOUNDS,
    BUCKETS,
    MOST,
    Histogram,
    Packed,
    counts_in,
    growth,
    packed,
    packed_from,
    quantile,
    seconds_in,
)
from hivemind.data.records import ResponderRecord, Stats, SubscriptionRecord, stats_from
from hivemind.picture.monitor import History
from hivemind.picture.snapshot import InstanceView

from .root_kit import instance

seconds = st.floats(0, 10_000, allow_nan=False)


def histogram(*took: float) -> Histogram:
    made = Histogram()
    for each in took:
        made.add(each)
    return made


def packed_of(*took: float) -> Packed:
    return packed([histogram(*took)])


def test_what_was_never_measured_takes_no_room() -> None:
    assert packed([Histogram(), Histogram()]) == ()
    assert quantile(counts_in(()), 0.5) is None
    assert seconds_in(()) == 0.0


def test_the_example_of_the_wire_is_right() -> None:
    assert packed_of(0.001, 0.0009, 0.0014) == (3300, 3, 2, 1)


@given(st.lists(seconds, max_size=30), st.lists(seconds, max_size=30))
def test_several_workers_are_told_as_one_and_read_back_as_written(one: list[float], other: list[float]) -> None:
    together = packed([histogram(*one), histogram(*other)])
    assert packed_from(json.loads(json.dumps(together))) == together
    assert counts_in(together) == histogram(*one, *other).counts
    assert seconds_in(together) == pytest.approx(sum(one) + sum(other), abs=1e-5)


@given(st.lists(seconds, min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_measurement_it_stands_for(took: list[float], share: float) -> None:
    found = quantile(histogram(*took).counts, share)
    exact = sorted(took)[math.ceil(share * len(took)) - 1]
    top = next((bound for bound in BOUNDS if exact <= bound), BOUNDS[-1])
    bottom = max((bound for bound in (0.0, *BOUNDS) if bound < exact), default=0.0)
    assert found is not None
    assert bottom - 1e-9 <= found <= top + 1e-9 or exact > BOUNDS[-1]


def test_clocks_that_differ_make_no_negative_delay() -> None:
    assert packed_of(-3.0) == (0, 0, 1)


@pytest.mark.parametrize(
    "raw",
    [
        *(None, 7, "x", {}, [], [1], [1, 2], [1, -1, 5], [1, 0, 1.5], [1, 0, True], [1, 0, MOST + 1], [-1, 0, 1]),
        *([1, BUCKETS, 1], [1, 0, *[1] * (BUCKETS + 1)], [0, 2**60, 1], [1, 0, [1]]),
    ],
)
def test_what_is_no_histogram_is_read_as_none(raw: Any) -> None:
    assert packed_from(raw) == ()
    stats = stats_from({"subscriptions": [{"pattern": "x", "times": raw, "delays": raw}]})
    assert stats.subscriptions == (SubscriptionRecord("x"),)


def test_growth_is_what_came_between_two_looks_and_never_negative() -> None:
    before, after = packed_of(0.001, 5.0), packed_of(0.001, 0.001, 5.0, 100.0)
    assert sum(growth(before, after)) == 2
    assert growth(after, before) == growth(before, before) == []


@given(st.lists(seconds, max_size=20), st.lists(seconds, max_size=20))
def test_growth_is_that_of_each_bucket_wherever_the_first_of_them_was(before: list[float], more: list[float]) -> None:
    found = growth(packed_of(*before), packed_of(*before, *more))
    expected = histogram(*more).counts
    assert found + [0] * (BUCKETS - len(found)) == expected


def seen(history: History, beat: float, times: Packed, delays: Packed) -> InstanceView:
    hears = SubscriptionRecord("bat-*", "save", received=1, times=times, delays=delays)
    answers = ResponderRecord("car", "drive", times=times, delays=delays)
    (view,) = history.follow([instance(beat=beat, stats=Stats(subscriptions=(hears,), responders=(answers,)))])
    return view


def test_a_view_tells_how_long_handling_took_over_the_last_beats() -> None:
    history, slow = History(), (30.0,) * 50
    assert seen(history, 100.0, packed_of(*slow), packed_of(*slow)).subscriptions[0].p50 is None
    view = seen(history, 102.0, packed_of(*slow, *[0.0015] * 99, 0.7), packed_of(*slow, 0.004, 0.004))
    (hears,) = view.subscriptions
    assert 0.001 <= (hears.p50 or 0) <= 0.002
    assert 0.001 <= (hears.p99 or 0) <= 0.002
    assert 0.002 <= (hears.delay_p50 or 0) <= (hears.delay_p99 or 0) <= 0.005
    (answers,) = view.responders
    assert (answers.p50, answers.delay_p99) == (hears.p50, hears.delay_p99)
    told = view.to_json()["subscriptions"][0]
    assert (told["p50"], told["delay_p99"], told["pattern"]) == (hears.p50, hears.delay_p99, "bat-*")


def test_where_nothing_was_handled_of_late_nothing_is_told() -> None:
    history, times = History(), packed_of(0.001)
    for beat in range(100, 130, 2):
        view = seen(history, beat, times, times)
    assert (view.subscriptions[0].p50, view.subscriptions[0].delay_p99, view.responders[0].p99) == (None, None, None)
