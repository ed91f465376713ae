"""hived and supervisord stand still, by a signal or by themselves: each is found by the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest

from hivemind.identity import PidFile, ProcessIdentity
from hivemind.supervisor.engine import Engine
from hivemind.supervisor.standing import Third, stopped

from .hive_kit import QUIET, SENDER, Hive, hive_in, kill, well
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)

SAID = 4.0  #: seconds in which every command says who stands still
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


def found_late(what: Callable[[], object], later_than: float) -> None:
    """Wait for it; nobody who stands still may be taken for it sooner than after so many seconds."""
    began = time.monotonic()
    eventually(what, within=FOUND)
    took = time.monotonic() - began
    print(f"found after {took:.1f} s")
    assert took > later_than


def other_hived(hive: Hive, before: int) -> bool:
    return [each.pid for each in hive.processes("supervisor.daemon")] not in ([], [before])


@pytest.mark.parametrize("number", [signal.SIGSTOP, pytest.param(signal.SIGUSR2, marks=pytest.mark.drill)])
def test_a_hived_that_stands_still_is_killed_and_started_again(hive: Hive, number: int) -> None:
    before, supervisord, listener = hive.pids(), hive.supervisord(), hive.listener()
    kill(listener, number)
    found_late(lambda: other_hived(hive, listener.pid), later_than=9.0)
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
    found_late(lambda: hive.engine.supervisord() not in (None, old), later_than=9.0)
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


def stop_both(hive: Hive) -> str:
    """What is to be said of them then."""
    listener, supervisord = hive.listener(), hive.supervisord()
    for one in (listener, supervisord):
        kill(one, signal.SIGSTOP)
    return f"hived (process {listener.pid}) and supervisord (process {supervisord.pid}) are stopped by a signal"


def says(hive: Hive, said: str, *command: str) -> None:
    """Whether that command says it, in time, and fails."""
    began = time.monotonic()
    done = hive.run(*command)
    took = time.monotonic() - began
    print(f"{' '.join(command)} took {took:.1f} s")
    assert said in done.stdout + done.stderr
    assert took < SAID
    assert done.returncode == (0 if command[1] == "why" else 1)


def test_when_both_stand_still_every_command_says_so_and_start_replaces_them(hive: Hive) -> None:
    before, said = hive.pids(), stop_both(hive)
    old = hive.supervisord(), hive.listener().pid
    for command in (("hived", "status"), ("hm", "status"), ("hm", "why", "batman")):
        says(hive, f"{said}: all that runs goes on, but who ends is not started again", *command)
    for change in (("hived", "reload"), ("hm", "restart", "batman"), ("hm", "scale", "batman", "2")):
        says(hive, f"{said}: all that runs goes on, but who ends is not started again", *change)
    os.kill(hive.copies("robin")[0].pid, signal.SIGKILL)
    done = hive.run("hived", "start")
    assert done.returncode == 0
    assert f"{said.removesuffix(' are stopped by a signal')} stood still, stopped by a signal: killed" in done.stderr
    eventually(lambda: well(hive), within=30)
    assert hive.supervisord() != old[0]
    assert hive.listener().pid != old[1]
    after = hive.pids()
    assert {name for name in before if after[name] != before[name]} == {"robin.0"}
    assert said not in hive.run("hived", "status").stderr


@pytest.mark.parametrize("who", [pytest.param("hived", marks=pytest.mark.long), "supervisord"])
def test_when_one_stands_still_every_command_says_so_and_start_replaces_it(hive: Hive, who: str) -> None:
    before, one = hive.pids(), hive.listener() if who == "hived" else hive.supervisord()
    kill(one, signal.SIGSTOP)
    for command in (("hived", "status"), ("hm", "status"), ("hm", "why", "batman")):
        says(hive, f"{who} (process {one.pid}) is stopped by a signal: ", *command)
    assert hive.run("hived", "start").returncode == 0
    eventually(lambda: well(hive), within=10)
    eventually(lambda: other_hived(hive, one.pid), within=10)
    assert hive.pids() == before


@pytest.mark.drill
def test_who_has_the_hive_in_the_foreground_replaces_both_when_both_stand_still(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        hive.node("batman", SENDER)
        command = hive.command("hived", "start", "--foreground")
        minder = subprocess.Popen(command, cwd=hive.folder, env=hive.environ, stdout=subprocess.DEVNULL)
        try:
            eventually(lambda: well(hive) and hive.processes("supervisor.daemon"), within=30)
            eventually(lambda: "running:" in hive.log("batman"), within=20)
            before, old = hive.pids(), hive.supervisord()
            stop_both(hive)
            says(hive, f"process {minder.pid}, which has the hive in its foreground, replaces both", "hived", "status")
            found_late(lambda: hive.engine.supervisord() not in (None, old), later_than=7.0)
            eventually(lambda: well(hive), within=30)
            assert hive.pids() == before
            minder.send_signal(signal.SIGTERM)
            assert minder.wait(20) == 0
        finally:
            minder.kill()
            minder.wait()


def test_a_third_sees_that_both_stand_still_after_ten_seconds_of_its_own_time(tmp_path: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    try:
        first, second = (eventually(lambda one=one: ProcessIdentity.of(one.pid)) for one in both)  # type: ignore[misc]
        assert first is not None
        PidFile(tmp_path / "hived").write(first)
        now = [0.0]
        engine = SimpleNamespace(paths=SimpleNamespace(listener=tmp_path / "hived"), supervisord=lambda: second)
        third = Third(cast(Engine, engine), lambda: now[0])

        def seen(steps: int, seconds: float = 1.0) -> list[bool]:
            found = []
            for _ in range(steps):
                now[0] += seconds
                found.append(third.sees())
            return found

        both[0].send_signal(signal.SIGSTOP)
        eventually(lambda: len(stopped(cast(Engine, engine))) == 1)
        assert not any(seen(30))
        both[1].send_signal(signal.SIGSTOP)
        eventually(lambda: len(stopped(cast(Engine, engine))) == 2)
        assert seen(11) == [False] * 10 + [True]
        both[0].send_signal(signal.SIGCONT)
        eventually(lambda: len(stopped(cast(Engine, engine))) == 1)
        assert not any(seen(30))
        both[0].send_signal(signal.SIGSTOP)
        eventually(lambda: len(stopped(cast(Engine, engine))) == 2)
        assert not any(seen(3, 100.0)), "it stood still itself meanwhile"
        assert not any(seen(30, 0.01)), "a look a second is enough"
    finally:
        for one in both:
            one.kill()
            one.wait()


@pytest.mark.parametrize("waited", [pytest.param(0.0, marks=pytest.mark.long), 5.0])
def test_what_is_asked_while_supervisord_stands_still_is_done_once_when_it_was_replaced(
    hive: Hive, waited: float
) -> None:
    before, old = hive.pids(), hive.supervisord()
    kill(old, signal.SIGSTOP)
    passes(waited)
    began = time.monotonic()
    done = hive.run("hm", "restart", "batman")
    took = time.monotonic() - began
    print(f"hm restart took {took:.1f} s, {waited:.0f} s after the stop")
    assert (done.returncode, done.stdout) == (0, "batman.0: restarted\n"), done.stderr
    assert f"waits for supervisord (process {old.pid}), which is stopped by a signal; then it does" in done.stderr
    assert took < FOUND
    eventually(lambda: well(hive), within=30)
    after = hive.pids()
    assert hive.supervisord() != old
    assert {name for name in before if after[name] != before[name]} == {"batman.0"}
    assert hive.log("hived").count("asked by") == 1


@pytest.mark.long
def test_what_is_asked_while_supervisord_stands_still_is_done_when_it_goes_on(hive: Hive) -> None:
    before, supervisord, listener = hive.pids(), hive.supervisord(), hive.listener()
    kill(supervisord, signal.SIGSTOP)
    asked = subprocess.Popen(
        hive.command("hm", "restart", "batman"),
        cwd=hive.folder,
        env=hive.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert asked.stderr is not None
    said = [asked.stderr.readline() for _ in range(3)]
    assert "waits for supervisord" in said[-1], said
    kill(supervisord, signal.SIGCONT)
    assert asked.communicate(timeout=30)[0] == "batman.0: restarted\n"
    after = hive.pids()
    assert (hive.supervisord(), hive.listener().pid) == (supervisord, listener.pid)
    assert {name for name in before if after[name] != before[name]} == {"batman.0"}
    assert hive.log("hived").count("asked by") == 1
