"""What runs here, asked twice a second: what has not changed is not read again, and what has is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hivemind.identity import PidFile, ProcessIdentity
from hivemind.supervisor.client import ProgramInfo, ProgramState
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.plan import Plan, load, save
from hivemind.supervisor.running import Running
from hivemind.supervisor.topology import Program

from .hive_kit import Hive

ROBIN = Program("robin.0", "node", "robin", ("python",), 10)


@pytest.fixture
def paths(tmp_path: Path) -> HivePaths:
    found = Hive(tmp_path).engine.paths
    found.make()
    save(found, Plan((ROBIN,)))
    return found


@pytest.fixture
def process() -> Iterator[ProcessIdentity]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    yield identity
    child.communicate(timeout=10)


def info(pid: int, started: float = 1.0) -> ProgramInfo:
    return ProgramInfo("robin.0", ProgramState.RUNNING, pid, started, 0.0, 0, "")


def test_a_plan_that_was_written_anew_is_read_anew(paths: HivePaths) -> None:
    for number in range(20):  # within one tick of the file system's clock, and all of one size
        save(paths, Plan((replace(ROBIN, digest=f"{number:02}"),)))
        assert load(paths).programs[0].digest == f"{number:02}"


def test_a_child_of_supervisord_is_who_wrote_the_pidfile_until_it_has_another_child(
    paths: HivePaths, process: ProcessIdentity
) -> None:
    infos = [info(process.pid)]
    running, file = Running(paths, lambda: infos), PidFile(paths.program_pid("robin.0"))
    assert running.now() == {}  # its keeper has not written it yet
    file.write(process)
    assert running.now() == {"robin.0": process}
    file.remove()
    assert running.now() == {"robin.0": process}
    infos[0] = info(process.pid, started=2.0)
    assert running.now() == {}


@pytest.mark.parametrize("state", [ProgramState.STARTING, ProgramState.RUNNING])
def test_who_has_just_begun_is_watched_too(paths: HivePaths, process: ProcessIdentity, state: ProgramState) -> None:
    PidFile(paths.program_pid("robin.0")).write(process)
    assert Running(paths, lambda: [replace(info(process.pid), state=state)]).now() == {"robin.0": process}


def test_one_that_was_adopted_is_looked_at_each_time(paths: HivePaths, process: ProcessIdentity) -> None:
    running = Running(paths, lambda: [info(pid=1)])  # the keeper that stands in for it
    PidFile(paths.program_pid("robin.0")).write(process)
    assert running.now() == {"robin.0": process}
    PidFile(paths.program_pid("robin.0")).write(replace(process, started=0.5))
    assert running.now() == {}
