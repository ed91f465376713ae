"""What `hived status` shows where supervisord is another one than before, or says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import psutil
import pytest

from hivemind.identity import ProcessIdentity
from hivemind.process_table import age
from hivemind.supervisor.lives import Lives
from hivemind.supervisor.status import _since

from .hive_kit import Hive, kill
from .waiting import eventually


def test_how_long_a_process_has_lived_is_known_of_it_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        first = age(sleeper.pid)
        assert first is not None
        assert 0.0 <= first < 5.0
        eventually(lambda: (age(sleeper.pid) or 0.0) > first + 0.1)
        sleeper.kill()
    assert age(sleeper.pid) is None


def test_the_life_of_a_program_begins_when_its_wait_is_over() -> None:
    me = os.getpid()
    process = ProcessIdentity.of(me)
    assert _since(Lives(began=17.0, pid=me), process, 5.0) == 17.0
    assert abs(_since(Lives(began=17.0, pid=me + 1), process, 5.0) - (time.time() - (age(me) or 0.0))) < 1.0
    assert _since(Lives(began=17.0, pid=me), None, 5.0) == 5.0


@pytest.mark.long
@pytest.mark.timeout(90)
def test_who_is_adopted_has_been_up_for_as_long_as_its_process(running: Hive) -> None:
    eventually(lambda: all((running.program(name).uptime or 0.0) > 4.0 for name in ("redis", "batman.0")), within=30)
    old, before = running.supervisord().pid, running.program("redis").uptime or 0.0
    kill(running.supervisord())
    eventually(lambda: running.engine.supervisord() is not None and running.supervisord().pid != old, within=20)
    eventually(lambda: running.program("redis").adopted, within=20)
    assert (running.program("redis").uptime or 0.0) >= before
    assert (running.program("batman.0").uptime or 0.0) >= before - 4.0


@pytest.mark.timeout(90)
def test_that_supervisord_says_nothing_is_told_once_and_not_in_every_row(running: Hive) -> None:
    held: list[psutil.Process | ProcessIdentity] = [
        running.listener(),
        running.supervisord(),
    ]  # hived, too, which would replace it
    for one in held:
        kill(one, signal.SIGSTOP)
    try:
        done = running.run("hived", "status")
    finally:
        for one in reversed(held):
            kill(one, signal.SIGCONT)
    assert done.stderr.count("are stopped by a signal") == 1
    assert "supervisord" not in done.stdout
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("batman.0"))
    assert row[:2] == ["batman.0", "unknown"]
    assert row[3:] != []
