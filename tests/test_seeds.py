"""The three files of the original README, as they were written, in three terminals, with no Redis installed."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from hivemind.bus.embedded import Embedded
from hivemind.settings import load_settings

from .cli_kit import Place, Running, place
from .waiting import eventually

SEEDS = Path(__file__).parent / "seeds"
ROOT, SERVICE, SUBSCRIPTION = "root.py", "service_node.py", "sub_node.py"
MESSAGE = "A Message For More!\n"
RUNS = {ROOT: "root.0  running", SERVICE: "message_task.0  running", SUBSCRIPTION: "listen_task.0  running"}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    """Outside of any hive; the embedded server of the hive `default` is stopped afterwards."""
    for seed in (ROOT, SERVICE, SUBSCRIPTION):
        shutil.copyfile(SEEDS / f"{seed}.txt", tmp_path / seed)
    runtime = tempfile.mkdtemp(prefix="hm-")  # the path of a socket must be short
    try:
        with place(tmp_path, XDG_RUNTIME_DIR=runtime, PYTHONUNBUFFERED="1") as made:
            yield made
            stopped = made.run("redis", "stop")
            assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    finally:
        embedded(tmp_path, runtime).stop()
        shutil.rmtree(runtime)


def embedded(folder: Path, runtime: str) -> Embedded:
    homes = {"XDG_STATE_HOME": str(folder / ".home" / "STATE"), "XDG_RUNTIME_DIR": runtime}
    return Embedded.of(load_settings(None, homes))


def start(here: Place, file: str) -> Running:
    return here.start(sys.executable, file)


def hears(running: Running) -> None:
    """Wait for one more message on its standard output."""
    before = running.stdout.count(MESSAGE)
    eventually(lambda: running.stdout.count(MESSAGE) > before, 20)


@pytest.mark.parametrize("order", list(permutations(RUNS))[::2], ids=" ".join)
def test_the_three_files_run_in_any_order_and_print_on_their_own_terminals(here: Place, order: tuple[str, ...]) -> None:
    running = {file: start(here, file) for file in order}
    hears(running[SUBSCRIPTION])
    for file in order:
        running[file].says(RUNS[file])
    assert set(running[SUBSCRIPTION].stdout.splitlines(keepends=True)) == {MESSAGE}
    assert running[SERVICE].stdout == ""
    assert [each.end() for each in running.values()] == [0, 0, 0]


@pytest.mark.slow
def test_kill_and_restart_any_of_the_three_and_the_others_go_on(here: Place) -> None:
    running = {file: start(here, file) for file in (SUBSCRIPTION, ROOT, SERVICE)}
    hears(running[SUBSCRIPTION])
    for victim in (ROOT, SERVICE, SUBSCRIPTION):
        running[victim].end(signal.SIGKILL)
        others = [each for file, each in running.items() if file != victim]
        running[victim] = start(here, victim)
        running[victim].says(RUNS[victim])
        hears(running[SUBSCRIPTION])
        assert [each.process.poll() for each in others] == [None, None]


def test_the_server_that_they_share_is_started_once_and_outlives_them(here: Place) -> None:
    nodes = [start(here, file) for file in (SERVICE, SUBSCRIPTION, SUBSCRIPTION)]
    nodes[0].says("message_task.0  running")
    for node in nodes[1:]:
        node.says("  running")
    assert "listen_task.1  running" in nodes[1].stderr + nodes[2].stderr
    assert [node.end() for node in nodes] == [0, 0, 0]
    assert '"is_answering":true' in here.run("redis", "status", "--json").stdout
