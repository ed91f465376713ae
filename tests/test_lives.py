"""How a program's lives ended, and how long the next one waits; and the file in which that is kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hivemind.identity import this_boot
from hivemind.supervisor.lives import (
    FIRST,
    KEPT,
    LONGEST,
    STEADY,
    Ended,
    Exit,
    Lives,
    delay,
    exit_in,
    forget,
    load_lives,
    read_lives,
    save_lives,
)
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.turn import Turn

from .waiting import eventually

early = some.floats(0.0, STEADY - 0.01)
chance = some.floats(0.0, 1.0, exclude_max=True)
SEGFAULT = Exit(None, "SIGSEGV")


def starts(lengths: list[float], chances: list[float]) -> list[float]:
    """When the lives of a program begin that last so long, from 0 on."""
    found, now, lives = [0.0], 0.0, Lives().begun(0.0, 1)
    for length, by in zip(lengths, chances, strict=True):
        now += length
        lives = lives.ended(now, Exit(1), rng=lambda by=by: by)  # type: ignore[misc]  # bound at once, as is meant
        now = now if lives.next is None else lives.next
        lives = lives.begun(now, 1)
        found.append(now)
    return found


@given(some.lists(some.tuples(early, chance), min_size=8, max_size=20))
def test_at_most_six_begin_in_the_first_minute_and_two_in_each_later_one(lives: list[tuple[float, float]]) -> None:
    found = starts([length for length, _ in lives], [by for _, by in lives])
    assert len([at for at in found if at < 60.0]) <= 6
    assert all(later - at > 29.999 for at, later in pairwise(found[6:]))


@given(some.lists(some.tuples(early, chance), min_size=1, max_size=60))
def test_it_is_never_given_up_and_never_waits_for_more_than_a_minute(lives: list[tuple[float, float]]) -> None:
    found = starts([length for length, _ in lives], [by for _, by in lives])
    waits = [later - at - length for (length, _), (at, later) in zip(lives, pairwise(found), strict=True)]
    assert max(waits) <= LONGEST + 1e-6
    assert found[1] == lives[0][0], "the first early end is followed by the next life at once"


@given(some.lists(early, max_size=12), some.floats(STEADY, 1e6))
def test_a_life_that_lasts_begins_anew(before: list[float], length: float) -> None:
    lives, now = Lives().begun(0.0, 1), 0.0
    for each in before:
        now += each
        lives = lives.ended(now, Exit(1), rng=random.random).begun(now, 1)
    lives = lives.ended(now + length + 1e-3, Exit(0), rng=random.random)
    assert (lives.failures, lives.next, len(lives.lives)) == (0, None, min(KEPT, len(before) + 1))


def test_waits_grow_threefold_to_a_minute_or_to_what_is_asked_for() -> None:
    assert [delay(n, rng=lambda: 1.0) for n in range(2, 8)] == [2.0, 6.0, 18.0, 54.0, 60.0, 60.0]
    assert [delay(n, 5.0, rng=lambda: 0.0) for n in (2, 3, 1000)] == [1.0, 2.5, 2.5]


def test_how_a_life_ended_is_told_in_words() -> None:
    lives = Lives().begun(100.0, 1).ended(100.4, SEGFAULT, rng=random.random)
    assert lives.text(100.4) == "died of SIGSEGV after 0.4 s"
    again = lives.begun(100.4, 2).ended(103.4, Exit(1), rng=lambda: 1.0)
    assert again.text(103.9) == "ended with 1 after 3.0 s, 2 times in a row; next try in 2 s"
    unknown = replace(again.begun(106.0, 3), is_adopted=True).ended(200.0, Exit(1), rng=random.random)
    assert unknown.text(200.0) == "ended after 1 min 34 s, nobody learns how"


LOG = b"""
2026-11-22 20:00:00,000 INFO spawned: 'batman.0' with pid 7
2026-11-22 20:00:01,000 WARN exited: batman.0 (exit status 3; not expected)
2026-11-22 20:00:01,001 INFO spawned: 'batman.0' with pid 8
2026-11-22 20:00:01,002 INFO spawned: 'batman.01' with pid 9
2026-11-22 20:00:02,000 WARN exited: batman.01 (exit status 5; not expected)
2026-11-22 20:00:02,000 WARN exited: batman.0 (terminated by SIGSEGV (core dumped); not expected)
"""


@pytest.mark.parametrize(("pid", "expected"), [(7, Exit(3)), (8, SEGFAULT), (9, Exit()), (1, Exit())])
def test_how_a_process_ended_is_read_from_supervisords_log(pid: int, expected: Exit) -> None:
    assert exit_in(LOG, "batman.0", pid) == expected


def test_what_was_written_is_read_again_in_unix_seconds(tmp_path: Path) -> None:
    paths, now = HivePaths(tmp_path, tmp_path, tmp_path), time.monotonic()
    paths.make()
    lives = Lives(1, None, (), now, 5).ended(now + 1.0, SEGFAULT, "KeyError: 'cape'", rng=random.random)
    assert save_lives(paths.program_lives("batman.0"), lives, this_boot())
    found = read_lives(paths, "batman.0")
    assert (found.failures, found.lives[0].signal, found.lives[0].words) == (2, "SIGSEGV", "KeyError: 'cape'")
    assert found.next is not None
    assert abs(found.lives[0].ended - time.time() - 1.0) < 30.0
    forget(paths, "batman.0")
    assert read_lives(paths, "batman.0") == Lives()


def test_a_program_that_has_been_up_for_long_does_not_fail_any_more(tmp_path: Path) -> None:
    paths = HivePaths(tmp_path, tmp_path, tmp_path)
    paths.make()
    for began, failures in ((time.monotonic() - STEADY - 1, 0), (time.monotonic(), 3)):
        save_lives(paths.program_lives("batman.0"), Lives(3, began=began), this_boot())
        assert read_lives(paths, "batman.0").failures == failures


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{", b"[]", b'"x"', b'{"boot": 5}', b'{"boot":"B","failures":"many","lives":7,"next":1,"began":2}'],
)
def test_a_spoilt_file_says_nothing(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "it").write_bytes(garbage)
    assert load_lives(tmp_path / "it", "B") == Lives()


def test_what_is_of_another_boot_says_nothing(tmp_path: Path) -> None:
    save_lives(tmp_path / "it", Lives(5, began=1.0), "before")
    assert load_lives(tmp_path / "it", "now") == Lives()


def turn(folder: Path) -> Turn:
    code = folder / "batman.py"
    code.touch()
    return Turn("batman.0", folder / "batman.0.lives", folder / "supervisord.log", folder / "out", None, (code,))


def failed(folder: Path, failures: int) -> Lives:
    """Lives of batman.0 of which so many ended early; the present one has just begun."""
    now = time.monotonic()
    lives = Lives(failures, None, (Ended(now - 1, now),), now - 0.5, 7)
    save_lives(folder / "batman.0.lives", lives, this_boot())
    return lives


def test_the_first_early_end_is_followed_by_the_next_life_at_once(tmp_path: Path) -> None:
    failed(tmp_path, 0)
    (tmp_path / "supervisord.log").write_bytes(LOG)
    (tmp_path / "out").write_text("Traceback\nKeyError: 'cape'\n")
    assert turn(tmp_path).wait()
    found = load_lives(tmp_path / "batman.0.lives", this_boot())
    assert (found.failures, found.next, found.pid) == (1, None, os.getpid())
    assert (found.lives[-1].status, found.lives[-1].words) == (3, "KeyError: 'cape'")


def keeper(folder: Path, lives: Path) -> subprocess.Popen[bytes]:
    """A process that waits for its turn, and ends with 3 when that has come, with 4 when it will not come."""
    code = f"""
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tests.test_lives import turn
sys.exit(3 if replace(turn(Path({str(folder)!r})), lives=Path({str(lives)!r})).wait() else 4)
"""
    return subprocess.Popen([sys.executable, "-c", code])


def waiting(folder: Path) -> subprocess.Popen[bytes]:
    """One that waits because its program has failed often."""
    failed(folder, 5)
    process = keeper(folder, folder / "batman.0.lives")
    eventually(lambda: load_lives(folder / "batman.0.lives", this_boot()).next, within=20)
    return process


def test_a_file_that_changes_ends_the_wait_and_begins_anew(tmp_path: Path) -> None:
    process = waiting(tmp_path)
    (tmp_path / "batman.py").write_text("mended = True")
    assert process.wait(20) == 3
    found = load_lives(tmp_path / "batman.0.lives", this_boot())
    assert (found.failures, len(found.lives)) == (0, 2)


def test_who_is_asked_to_stop_while_it_waits_begins_nothing(tmp_path: Path) -> None:
    process = waiting(tmp_path)
    process.terminate()
    assert process.wait(20) in (4, -signal.SIGTERM)  # before it listens for the signal it just ends


def test_a_place_that_cannot_be_written_slows_lives_and_stops_none(tmp_path: Path) -> None:
    began = time.monotonic()
    assert keeper(tmp_path, tmp_path / "gone" / "batman.0.lives").wait(30) == 3
    assert time.monotonic() - began > FIRST
