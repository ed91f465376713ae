"""Which programs hang: scenarios as data, with a clock of their own."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hivemind.data.records import About, Instance, Stats
from hivemind.identity import ProcessIdentity
from hivemind.supervisor.watchdog import Watchdog

LEASE = 6.0
PROCESS = ProcessIdentity(100, 1.5, "boot", "here")
OTHER = ProcessIdentity(200, 2.5, "boot", "there")
RUNNING = {"batman.0": PROCESS}


def instance(expires: float | None, process: ProcessIdentity = PROCESS, watched: bool = True) -> Instance:
    about = About("batman", process.host, process.pid, 0.0, LEASE, process, watched)
    return Instance("batman.0", 1, expires, about, Stats())


def hung(
    dog: Watchdog, now: float, *instances: Instance, running: dict[str, ProcessIdentity] | None = None
) -> list[str]:
    return [name for name, _ in dog.observe(now, RUNNING if running is None else running, instances)]


def test_a_program_whose_expiry_moves_is_well() -> None:
    dog = Watchdog()
    assert not any(hung(dog, now, instance(1000.0 + now)) for now in range(0, 60, 2))


def test_a_program_whose_expiry_stands_still_for_a_lease_hangs() -> None:
    dog = Watchdog()
    seen = [hung(dog, now, instance(1000.0)) for now in (0.0, 3.0, 6.0, 6.5)]
    assert seen == [[], [], [], ["batman.0"]]


def test_a_lease_that_ended_in_redis_does_not_hide_a_hung_program() -> None:
    dog = Watchdog()
    hung(dog, 0.0, instance(1000.0))
    lost = replace(instance(None), about=About("batman", "", 0, 0.0, 0.0))
    assert hung(dog, 6.5, lost) == ["batman.0"]
    assert hung(dog, 6.5) == ["batman.0"]


def test_after_redis_was_away_every_lease_starts_afresh() -> None:
    dog = Watchdog()
    hung(dog, 0.0, instance(1000.0))
    dog.away()
    assert hung(dog, 100.0, instance(1000.0)) == []
    assert hung(dog, 107.0, instance(1000.0)) == ["batman.0"]


def test_redis_with_its_clock_set_forward_kills_nobody() -> None:
    dog = Watchdog()
    hung(dog, 0.0, instance(1000.0))
    assert hung(dog, 2.0) == []
    assert hung(dog, 4.0, instance(4600.0)) == []


def test_a_debugged_instance_is_left_alone() -> None:
    dog = Watchdog()
    assert not any(hung(dog, now, instance(1000.0, watched=False)) for now in (0.0, 100.0))


def test_a_standby_whose_number_another_process_holds_is_not_watched() -> None:
    dog = Watchdog()
    assert not any(hung(dog, now, instance(1000.0, process=OTHER)) for now in (0.0, 100.0))


def test_a_program_that_never_registered_is_not_watched() -> None:
    dog = Watchdog()
    assert not any(hung(dog, now) for now in (0.0, 100.0))


def test_a_new_process_gets_a_lease_of_its_own() -> None:
    dog = Watchdog()
    hung(dog, 0.0, instance(1000.0))
    young = replace(PROCESS, pid=101)
    assert hung(dog, 7.0, instance(1000.0, process=young), running={"batman.0": young}) == []


def test_a_program_that_was_stopped_is_forgotten() -> None:
    dog = Watchdog()
    hung(dog, 0.0, instance(1000.0))
    hung(dog, 3.0, instance(1000.0), running={})
    assert hung(dog, 9.0, instance(1000.0)) == []


def kills(dog: Watchdog, until: float) -> list[float]:
    """When a program is killed that never beats more than once a life."""
    found, life = [], 0
    for tick in range(int(until)):
        process = replace(PROCESS, pid=PROCESS.pid + life)
        if hung(dog, tick, instance(1000.0 + life, process), running={"batman.0": process}):
            dog.killed(tick, "batman.0")
            found.append(float(tick))
            life += 1
    return found


def test_what_hangs_again_and_again_is_killed_less_and_less_often() -> None:
    found = kills(Watchdog(lambda: 1.0), 400)
    assert [after - before for before, after in pairwise(found)][:7] == [8, 8, 12, 24, 48, 60, 60]


def test_ten_minutes_without_a_kill_begin_the_back_off_anew() -> None:
    dog = Watchdog(lambda: 1.0)
    for number in range(6):
        dog.killed(number, "batman.0")
    dog.killed(700.0, "batman.0")
    hung(dog, 700.0, instance(1000.0))
    assert hung(dog, 706.5, instance(1000.0)) == ["batman.0"]
