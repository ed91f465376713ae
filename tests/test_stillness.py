"""Who stands still, as hived and supervisord judge each other: scenarios as data, and whatever may happen."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hivemind.process_table import COMPUTING, DISK, HELD, STOPPED, WAITING, Doing, doing
from hivemind.supervisor.stillness import BUSY, STILL, Stillness
from hivemind.supervisor.stood import Stood, lately, news, read, write

FROZEN = Doing(STOPPED, 1.0)
looks = st.lists(
    st.tuples(
        st.floats(0.0, 1.0),
        st.one_of(
            st.none(), st.builds(Doing, st.sampled_from([STOPPED, WAITING, COMPUTING, DISK, HELD]), st.floats(0.0, 9.0))
        ),
    ),
    max_size=200,
)


def until_judged(doings: list[Doing], seconds: float = 1.0) -> int | None:
    """How many looks it takes."""
    judge = Stillness()
    return next((count for count, each in enumerate(doings, 1) if judge.look(seconds, each)), None)


def test_who_is_stopped_or_waits_without_end_stands_still_after_ten_seconds() -> None:
    assert until_judged([FROZEN] * 100) == STILL
    assert until_judged([Doing(WAITING, 3.0)] * 100) == STILL


def test_who_computes_or_waits_for_a_disk_has_a_minute() -> None:
    assert until_judged([Doing(COMPUTING, 0.1 * count) for count in range(100)]) == BUSY
    assert until_judged([Doing(DISK, 3.0)] * 100) == BUSY


def test_who_computed_for_a_while_and_then_stopped_has_ten_seconds_from_then() -> None:
    worked = [Doing(COMPUTING, float(count)) for count in range(20)]
    assert until_judged([*worked, *[Doing(STOPPED, 19.0)] * 50]) == len(worked) + STILL


def test_whom_a_debugger_holds_and_who_has_ended_is_left_alone() -> None:
    assert until_judged([Doing(HELD, 1.0)] * 500) is None
    judge = Stillness()
    assert not any(judge.look(1.0, None) for _ in range(500))


def test_a_sign_of_life_begins_it_all_anew() -> None:
    judge = Stillness()
    for _ in range(50):
        assert not any(judge.look(1.0, FROZEN) for _ in range(int(STILL) - 1))
        judge.heard()
    assert judge.silent == 0.0


@given(looks)
def test_nobody_is_judged_before_ten_seconds_of_the_watchers_own_time(found: list[tuple[float, Doing | None]]) -> None:
    judge, since = Stillness(), 0.0
    for seconds, each in found:
        is_spared = each is None or each.state == HELD
        since = 0.0 if is_spared else since + seconds
        assert judge.look(seconds, each) <= (since >= STILL - 1e-6)
        assert abs(judge.silent - since) < 1e-6


@given(looks, st.integers(0, 3))
def test_whoever_stood_still_for_ever_is_found_whatever_he_did_before(
    found: list[tuple[float, Doing | None]], late: int
) -> None:
    judge = Stillness()
    for seconds, each in found:
        judge.look(seconds, each)
    after = [judge.look(1.0, FROZEN) for _ in range(int(STILL) + 1 + late)]
    assert after[-1]


def test_the_system_tells_what_a_process_does() -> None:
    me = doing(os.getpid())
    assert me is not None
    assert me.state == COMPUTING
    assert me.used > 0.0
    assert doing(2**22 + 1) is None


def test_who_was_killed_is_logged_once_and_shown_for_an_hour(tmp_path: Path) -> None:
    file, now = tmp_path / "stood.json", time.time()
    assert (news(file), lately(file)) == ("", "")
    write(file, Stood("hived", 5, STOPPED, 10.3, now))
    assert news(file) == "hived (process 5) did not go on for 10 s (stopped by a signal), and was killed"
    assert news(file) == ""
    assert lately(file).startswith("hived (process 5) did not go on for 10 s (stopped by a signal), and was killed ")
    write(file, Stood("hived", 5, STOPPED, 10.3, now - 3601.0))
    assert lately(file) == ""
    file.write_text("{}")
    assert read(file) is None
    write(tmp_path / "nowhere" / "stood.json", Stood("hived", 5, STOPPED, 10.3, now))
