"""Waiting between tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hivemind.backoff import Backoff


def at_most() -> float:
    return 1.0


def test_it_doubles_up_to_the_cap() -> None:
    backoff = Backoff(0.5, 6.0, rng=at_most)
    assert [backoff.next() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0]


def test_after_a_success_it_begins_anew() -> None:
    backoff = Backoff(0.5, 60.0, rng=at_most)
    backoff.next(), backoff.next()
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next() == 0.5


def test_it_never_gives_up() -> None:
    backoff = Backoff(0.05, 0.5)
    assert max(backoff.next() for _ in range(10_000)) <= 0.5
    assert backoff.attempts == 10_000


@given(st.floats(0.001, 10), st.floats(0.001, 100), st.floats(0, 10), st.integers(0, 50), st.floats(0, 1))
def test_each_delay_lies_between_floor_and_ceiling(
    base: float, cap: float, floor: float, tries: int, drawn: float
) -> None:
    backoff = Backoff(base, cap, floor=floor, rng=lambda: drawn)
    for _ in range(tries):
        backoff.next()
    ceiling = backoff.ceiling
    assert ceiling <= cap
    assert min(floor, ceiling) <= backoff.next() <= ceiling + 1e-9


def test_many_who_fail_together_do_not_come_back_together() -> None:
    delays = {round(Backoff(1.0, 1.0).next(), 3) for _ in range(200)}
    assert len(delays) > 100
