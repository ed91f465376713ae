"""hived and supervisord stand still, by a signal or by themselves: each is found by the other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .hive_kit import QUIET, SENDER, Hive, hive_in, kill, well
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)

FOUND = 30.0  #: seconds: 16 on a machine that has nothing else to do
BLOCKS = """
import os, pathlib, signal, sys, time

def block(*_):
    while not pathlib.Path("go").exists():
        time.sleep(0.01) if os.path.exists("computes") else time.sleep(600)

if "hivemind.supervisor.daemon" in " ".join(sys.orig_argv) or "daemon" in sys.argv[0]:
    signal.signal(signal.SIGUSR2, block)
"""


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path / "gotham", more=BLOCKS) as made:
        made.node("batman", SENDER)
        made.node("robin", QUIET)
        made.start()
        eventually(lambda: well(made), within=30)
        yield made


def passes(seconds: float) -> None:
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > seconds, within=seconds + 10)


def other_hived(hive: Hive, before: int) -> bool:
    return [each.pid for each in hive.processes("supervisor.daemon")] not in ([], [before])


@pytest.mark.parametrize("number", [signal.SIGSTOP, pytest.param(signal.SIGUSR2, marks=pytest.mark.drill)])
def test_a_hived_that_stands_still_is_killed_and_started_again(hive: Hive, number: int) -> None:
    before, supervisord, listener = hive.pids(), hive.supervisord(), hive.listener()
    kill(listener, number)
    began = time.monotonic()
    eventually(lambda: other_hived(hive, listener.pid), within=FOUND)
    print(f"another hived after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began > 9.0
    said = f"hived (process {listener.pid}) did not go on for"
    eventually(lambda: said in hive.log("hived"), within=10)
    assert said in hive.run("hived", "status").stderr
    assert said in hive.run("hm", "status").stdout
    assert (hive.pids(), hive.supervisord()) == (before, supervisord)
    if number == signal.SIGUSR2:
        assert "in block" in (hive.folder / "var/log/hived.out").read_text()
    os.kill(hive.copies("batman")[0].pid, signal.SIGKILL)
    eventually(lambda: hive.program("batman.0").pid not in (None, before["batman.0"]), within=20)


def test_a_supervisord_that_stands_still_is_killed_and_replaced_and_no_node_notices(hive: Hive) -> None:
    before, old = hive.pids(), hive.supervisord()
    kill(old, signal.SIGSTOP)
    began = time.monotonic()
    eventually(lambda: hive.engine.supervisord() not in (None, old), within=FOUND)
    print(f"another supervisord after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began > 9.0
    eventually(lambda: well(hive), within=30)
    assert hive.pids() == before
    assert [len(hive.copies(node)) for node in ("batman", "robin")] == [1, 1]
    said = f"supervisord (process {old.pid}) did not go on for"
    assert said in hive.log("hived")
    assert said in hive.run("hived", "status").stderr
    assert hive.run("hived", "stop").returncode == 0
    assert hive.processes() == []


@pytest.mark.drill
def test_who_goes_on_after_eight_seconds_is_left_alone(hive: Hive) -> None:
    before, supervisord, listener = hive.pids(), hive.supervisord(), hive.listener()
    for one in (supervisord, listener):
        kill(one, signal.SIGSTOP)
        passes(8.0)
        kill(one, signal.SIGCONT)
        passes(6.0)
    assert (hive.pids(), hive.supervisord(), hive.listener().pid) == (before, supervisord, listener.pid)


@pytest.mark.drill
def test_nobody_is_killed_after_the_whole_machine_stood_still_nor_because_redis_is_away(hive: Hive) -> None:
    supervisord, listener = hive.supervisord(), hive.listener()
    redis = psutil.Process(hive.pids()["redis"])
    everybody = [*hive.processes("hivemind"), redis]
    for one in everybody:
        kill(one, signal.SIGSTOP)
    passes(20.0)
    kill(supervisord, signal.SIGCONT)
    passes(1.0)
    for one in everybody:
        if one != redis:
            kill(one, signal.SIGCONT)
    passes(18.0)  # longer than what ends one of these two, and shorter than what ends a Redis
    kill(redis, signal.SIGCONT)
    eventually(lambda: well(hive), within=30)
    assert (hive.supervisord(), hive.listener().pid) == (supervisord, listener.pid)


@pytest.mark.drill
@pytest.mark.timeout(180)
def test_a_hived_that_is_at_work_has_a_minute(hive: Hive) -> None:
    listener = hive.listener()
    (hive.folder / "computes").touch()
    kill(listener, signal.SIGUSR2)
    passes(40.0)
    assert hive.listener().pid == listener.pid
    eventually(lambda: other_hived(hive, listener.pid), within=60)
