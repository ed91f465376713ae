"""How long connections wait between two tries: bounded each for itself, and no herd all together."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.endpoint import CONNECT_TIMEOUT
from hivemind.bus.pace import LONG, QUICK_CAP, SLOW_CAP, Pace

TRIES = st.lists(st.tuples(st.floats(0.0, 60.0), st.booleans()), max_size=50)
CROWD = 10  # connections that come as one, in what follows
HANDSHAKE = CROWD * 162e-6  # seconds of a Redis's time for them, as measured


@given(TRIES, st.integers())
def test_what_fails_at_once_is_tried_again_soon_and_what_costs_redis_work_within_seconds(
    tries: list[tuple[float, bool]], seed: int
) -> None:
    pace = Pace(rng=random.Random(seed).random)
    for took, is_full in tries:
        pause = pace.pause(took, is_full=is_full)
        assert 0.0 <= pause <= (SLOW_CAP if is_full or took > LONG else QUICK_CAP)


@given(st.integers(4, 100), st.integers())
def test_pauses_are_drawn_from_all_of_their_span_and_begin_anew_after_a_success(tries: int, seed: int) -> None:
    pace = Pace(rng=lambda: 0.999)
    longest = [pace.pause(CONNECT_TIMEOUT) for _ in range(tries)]
    assert longest == sorted(longest)
    pace.reset()
    assert pace.pause(CONNECT_TIMEOUT) == longest[0]
    spread = Pace(rng=random.Random(seed).random)
    late = [spread.pause(CONNECT_TIMEOUT) for _ in range(400)][10:]
    assert min(late) < 0.2 * SLOW_CAP < 0.8 * SLOW_CAP < max(late)


def back_after(count: int, pause: Callable[[int], float], limit: float) -> tuple[float, int]:
    """Let ``count`` connections come to one Redis at once, that greets one after the other; who is not greeted in time
    has gone, and comes again after a pause. Return when the last is there, or the limit, and how many are then not.
    """
    rng = random.Random(7)
    comes = [(rng.random() * QUICK_CAP, number) for number in range(count)]
    heapq.heapify(comes)
    now, is_left = 0.0, count
    while comes and now < limit:
        came, number = heapq.heappop(comes)
        now = max(now, came) + HANDSHAKE  # also for who has gone: his greeting has to be read
        if now - came <= CONNECT_TIMEOUT:
            is_left -= 1
        else:
            heapq.heappush(comes, (came + CONNECT_TIMEOUT + pause(number), number))
    return now, is_left


def test_forty_thousand_connections_come_back_where_short_pauses_would_go_on_for_ever() -> None:
    count, limit = 40_000 // CROWD, 60.0
    paces = [Pace() for _ in range(count)]
    took, away = back_after(count, lambda number: paces[number].pause(CONNECT_TIMEOUT), limit)
    assert (away, took < limit) == (0, True)
    _, away = back_after(count, lambda _: random.random() * QUICK_CAP, limit)
    assert away > 0
