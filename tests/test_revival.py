"""What supervisord gave up is started again, ever more slowly, and never given up."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hivemind.identity import this_boot
from hivemind.supervisor.client import ProgramInfo, ProgramState
from hivemind.supervisor.engine import Engine
from hivemind.supervisor.lives import Ended, Lives, save_lives
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.plan import Plan, save
from hivemind.supervisor.processes import Restart
from hivemind.supervisor.revival import Revival, counts_as_restart, should_revive
from hivemind.supervisor.reviver import Reviver
from hivemind.supervisor.topology import Program


def program(restart: Restart = "always") -> Program:
    return Program("batman.0", "node", "batman", ("true",), 10, restart=restart)


def info(state: ProgramState, exit_status: int = 0) -> ProgramInfo:
    return ProgramInfo("batman.0", state, 0, 0.0, 0.0, exit_status, "Exited too quickly")


def delays(revival: Revival, count: int, now: float = 0.0) -> list[float]:
    found = []
    for _ in range(count):
        revival.observe(now, program(), info(ProgramState.FATAL))
        due = revival.next_due()
        assert due is not None
        found.append(due - now)
        now = due
        assert revival.due(now) == ["batman.0"]
    return found


def test_the_delay_doubles_to_a_minute_and_never_ends() -> None:
    assert delays(Revival(rng=lambda: 1.0), 10) == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_seeing_it_fail_twice_does_not_put_it_off() -> None:
    revival = Revival(rng=lambda: 1.0)
    revival.observe(0.0, program(), info(ProgramState.FATAL))
    revival.observe(0.4, program(), info(ProgramState.FATAL))
    assert revival.due(0.5) == ["batman.0"]


def test_a_program_that_was_up_for_long_begins_anew() -> None:
    revival = Revival(rng=lambda: 1.0)
    delays(revival, 5)
    for now in (20.0, 31.0):
        revival.observe(now, program(), info(ProgramState.RUNNING))
    assert delays(revival, 1, now=30.0) == [0.5]


def test_a_program_that_was_up_for_a_moment_does_not() -> None:
    revival = Revival(rng=lambda: 1.0)
    delays(revival, 5)
    for now, pid in ((20.0, 1), (23.0, 1), (32.0, 2)):
        revival.observe(now, program(), replace(info(ProgramState.RUNNING), pid=pid))
    assert delays(revival, 1, now=30.0) == [16.0]


def test_revivals_are_counted() -> None:
    revival = Revival()
    delays(revival, 3)
    assert revival.counts() == {"batman.0": 3}


@pytest.mark.parametrize(
    ("restart", "state", "exit_status", "revived"),
    [
        ("always", ProgramState.FATAL, 0, True),
        ("always", ProgramState.EXITED, 1, False),  # supervisord does it
        ("always", ProgramState.STOPPED, 0, False),
        ("on-failure", ProgramState.EXITED, 1, False),  # supervisord does it
        ("on-failure", ProgramState.EXITED, 0, False),
        ("on-failure", ProgramState.FATAL, 0, True),
        ("never", ProgramState.EXITED, 1, False),
        ("never", ProgramState.FATAL, 1, False),
    ],
)
def test_what_is_revived_depends_on_how_it_is_tuned(
    restart: Restart, state: ProgramState, exit_status: int, revived: bool
) -> None:
    assert should_revive(program(restart), info(state, exit_status)) is revived


def test_what_supervisord_starts_again_by_itself_counts_as_well() -> None:
    revival = Revival()
    revival.observe(0.0, program(), info(ProgramState.RUNNING))
    revival.restarted("batman.0")
    revival.observe(1.0, program(), info(ProgramState.RUNNING))
    assert (revival.counts(), revival.next_due()) == ({"batman.0": 1}, None)


@pytest.mark.parametrize(
    ("restart", "is_expected", "counts"),
    [
        ("always", True, True),
        ("always", False, True),
        ("on-failure", False, True),
        ("on-failure", True, False),
        ("never", False, False),
    ],
)
def test_what_counts_as_a_restart_depends_on_how_it_is_tuned(restart: Restart, is_expected: bool, counts: bool) -> None:
    assert counts_as_restart(program(restart), is_expected=is_expected) is counts


def test_an_end_that_is_heard_of_twice_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = HivePaths(tmp_path, tmp_path / "var", tmp_path / "var")
    paths.make()
    save(paths, Plan((program(),)))
    now = time.monotonic()
    assert save_lives(paths.program_lives("batman.0"), Lives(1, None, (Ended(now - 3.0, now),)), this_boot())
    client = SimpleNamespace(programs=tuple)
    reviver = Reviver(cast(Engine, SimpleNamespace(paths=paths, client=lambda: client)))
    for _ in range(2):
        reviver.ended("batman.0")
        reviver._look_once()
    assert caplog.text.count("batman.0 ended after 3.0 s") == 1
