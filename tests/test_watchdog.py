"""Which programs hang: scenarios as data, with a clock of their own."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hivemind.identity import ProcessIdentity
from hivemind.supervisor.watchdog import Late, Watchdog

LEASE = 6.0
PROCESS = ProcessIdentity(100, 1.5, "boot", "here")


def hung(dog: Watchdog, now: float, expires: int | None = None, process: ProcessIdentity = PROCESS) -> list[str]:
    """Who hangs, where one program is late, and its lease ends then; or is not late."""
    late = {} if expires is None else {"batman.0": Late(process, LEASE, expires)}
    return [name for name, _ in dog.observe(now, late)]


def watched() -> Watchdog:
    """One that has seen that nobody is late."""
    dog = Watchdog()
    hung(dog, 0.0)
    return dog


def test_who_is_late_and_does_not_move_for_another_half_of_a_lease_hangs() -> None:
    dog = watched()
    seen = [hung(dog, now, 1000) for now in (1.0, 2.0, 4.0, 4.25)]
    assert seen == [[], [], [], ["batman.0"]]
    assert not dog.is_calm


def test_who_was_late_and_moves_is_well() -> None:
    dog = watched()
    seen = [hung(dog, now, 1000 if now % 4 else None) for now in range(1, 60)]
    assert not any(seen)


def test_a_lease_that_ended_in_redis_does_not_hide_a_hung_program() -> None:
    dog = watched()
    hung(dog, 1.0, 1000)
    assert hung(dog, 3.0, -2) == []
    assert hung(dog, 4.25, -2) == ["batman.0"]
    assert hung(dog, 4.5, -2) == ["batman.0"]


def test_who_moves_and_is_late_all_the_same_has_a_whole_lease() -> None:
    dog = watched()
    hung(dog, 1.0, 1000)
    assert hung(dog, 3.0, 4600) == []
    assert hung(dog, 9.0, 4600) == []
    assert hung(dog, 9.25, 4600) == ["batman.0"]


def test_who_was_well_until_redis_forgot_all_has_a_whole_lease() -> None:
    dog = watched()
    assert [hung(dog, now, -2) for now in (1.0, 4.25, 7.0, 7.25)] == [[], [], [], ["batman.0"]]


def test_after_redis_was_away_every_lease_starts_afresh() -> None:
    dog = watched()
    hung(dog, 1.0, 1000)
    dog.away()
    assert dog.is_calm
    assert hung(dog, 100.0, 1000) == []
    assert hung(dog, 106.0, 1000) == []
    assert hung(dog, 106.25, 1000) == ["batman.0"]


def test_one_who_begins_to_watch_gives_a_whole_lease() -> None:
    dog = Watchdog()
    assert [hung(dog, now, 1000) for now in (0.0, 6.0, 6.25)] == [[], [], ["batman.0"]]


def test_a_new_process_gets_a_lease_of_its_own() -> None:
    dog = watched()
    hung(dog, 1.0, 1000)
    assert hung(dog, 4.25, 1000, replace(PROCESS, pid=101)) == []


def test_a_program_that_was_stopped_is_forgotten() -> None:
    dog = watched()
    hung(dog, 1.0, 1000)
    hung(dog, 3.0)
    assert hung(dog, 6.0, 1000) == []


def kills(dog: Watchdog, until: float) -> list[float]:
    """When a program is killed that never beats more than once a life."""
    found, life = [], 0
    for tick in range(int(until)):
        if hung(dog, tick, 1000 + life, replace(PROCESS, pid=PROCESS.pid + life)):
            dog.killed(tick, "batman.0")
            found.append(float(tick))
            life += 1
    return found


def test_what_hangs_again_and_again_is_killed_less_and_less_often() -> None:
    found = kills(Watchdog(lambda: 1.0), 400)
    assert [after - before for before, after in pairwise(found)][:7] == [5, 6, 12, 24, 48, 60, 60]


def test_ten_minutes_without_a_kill_begin_the_back_off_anew() -> None:
    dog = Watchdog(lambda: 1.0)
    for number in range(6):
        dog.killed(number, "batman.0")
    dog.killed(700.0, "batman.0")
    hung(dog, 700.0, 1000)
    assert hung(dog, 706.5, 1000) == ["batman.0"]


def test_who_moved_before_it_was_killed_and_stands_still_again_is_found_as_soon_as_for_the_first_time() -> None:
    dog = watched()
    for seconds in range(0, 60, 6):
        assert hung(dog, 1.0 + seconds, 1000 + seconds) == []
        assert hung(dog, 4.25 + seconds, 1000 + seconds) == ["batman.0"]
        dog.spared("batman.0")
        assert dog.is_calm
        assert hung(dog, 4.5 + seconds) == []
