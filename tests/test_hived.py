"""hived starts and stops a hive, end to end: a real supervisord, real nodes, the embedded Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hivemind.bus.server_program import ask

from .hive_kit import SENDER, UP, Hive, hive_in, kill, well
from .waiting import eventually

STOP_TIMEOUT = 3.0  # as hive_kit sets it
pytestmark = pytest.mark.timeout(90)


def test_start_runs_everything_and_stop_leaves_nothing(gotham: Hive) -> None:
    gotham.node("batman")
    gotham.node("robin")
    gotham.start()
    eventually(lambda: well(gotham), within=15)
    assert sorted(gotham.states()) == ["batman.0", "redis", "robin.0", "root"]
    assert gotham.run("hived", "stop").returncode == 0
    assert gotham.processes() == []
    assert not (gotham.folder / "var/supervisord.sock").exists()


def test_when_start_returns_redis_answers(gotham: Hive) -> None:
    assert gotham.run("hived", "start").returncode == 0
    assert "Redis does not answer" not in gotham.run("hived", "status").stderr


def test_where_redis_does_not_answer_all_is_started_and_that_is_said_and_exits_with_1(gotham: Hive) -> None:
    gotham.node("batman")
    gotham.configure('REDIS_URL = "redis://127.0.0.1:1"')
    done = gotham.run("hived", "start")
    assert (done.returncode, done.stdout) == (1, "hive gotham runs: root, batman.0\n")
    assert "warning: Redis at redis://127.0.0.1:1: " in done.stderr
    assert "change REDIS_URL (config/hive.py" in done.stderr
    assert "all that is enabled was started, and waits for it" in done.stderr
    assert len(gotham.copies("batman")) == 1
    assert gotham.run("hived", "start").returncode == 0, "it runs already"
    eventually(lambda: gotham.states() == {"batman.0": "running", "root": "running"}, within=15)
    done = gotham.run("hived", "status")
    assert (done.returncode, "warning: Redis does not answer; hived goes on" in done.stderr) == (1, True), done.stderr


def test_the_status_of_a_hive_whose_redis_is_frozen_says_so_and_exits_with_1(gotham: Hive) -> None:
    gotham.start()
    eventually(lambda: well(gotham), within=15)
    redis = gotham.pids()["redis"] or 0
    os.kill(redis, signal.SIGSTOP)
    said = f"the hive's own Redis (process {redis}) is stopped by a signal: hived replaces it after 20 s"
    done = gotham.run("hived", "status")
    assert (done.returncode, f"warning: {said}; hived goes on" in done.stderr) == (1, True), done.stderr
    done = gotham.run("hived", "status", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["well"], found["redis"], found["redis_away"]) == (1, False, False, said)
    assert [one["detail"] for one in found["programs"] if one["name"] == "redis"] == ["does not answer"]
    done = gotham.run("hm", "why", "redis")
    assert (done.returncode, f"(process {redis}). {said[0].upper()}{said[1:]}" in done.stdout) == (1, True), done
    os.kill(redis, signal.SIGCONT)
    eventually(lambda: well(gotham), within=15)
    assert gotham.run("hm", "why", "redis").returncode == 0


def test_a_hive_whose_nodes_are_not_enabled_says_so_when_it_starts(gotham: Hive) -> None:
    gotham.node("batman", enable=False)
    done = gotham.run("hived", "start")
    assert (done.returncode, done.stdout) == (0, "hive gotham runs: redis, root\n")
    assert (
        "batman exists but is not enabled: uncomment `from .batman import batman` in nodes/__init__.py" in done.stderr
    )


def test_of_two_starts_at_once_one_wins(gotham: Hive) -> None:
    gotham.node("batman")
    command = gotham.command("hived", "start")
    both = [
        subprocess.Popen(command, cwd=gotham.folder, env=gotham.environ, stdout=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    said = [process.communicate(timeout=40)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("already runs" in text for text in said) == [False, True]
    assert len(gotham.processes("supervisor.supervisord")) == 1


def test_redis_stops_last(gotham: Hive) -> None:
    gotham.node("batman")
    gotham.start()
    gotham.run("hived", "stop")
    lines = (gotham.folder / "var/log/supervisord.log").read_text().splitlines()
    stopped = [line.split("stopped: ")[1].split()[0] for line in lines if "stopped: " in line]
    assert stopped.index("redis") > max(stopped.index("batman.0"), stopped.index("root"))


def test_stopping_what_does_not_run_is_well(gotham: Hive) -> None:
    done = gotham.run("hived", "stop")
    assert (done.returncode, "did not run" in done.stdout) == (0, True)


def test_a_frozen_supervisord_is_stopped_all_the_same(gotham: Hive) -> None:
    gotham.node("batman")
    gotham.start()
    kill(gotham.supervisord(), signal.SIGSTOP)
    assert gotham.run("hived", "stop").returncode == 0
    eventually(lambda: gotham.processes() == [])


@pytest.mark.parametrize(
    "frozen",
    [
        pytest.param(("redis",), marks=pytest.mark.drill),
        pytest.param(("supervisord",), marks=pytest.mark.drill),
        ("redis", "supervisord"),
    ],
    ids="-".join,
)
def test_a_stop_takes_little_more_than_its_time_whatever_is_frozen(gotham: Hive, frozen: tuple[str, ...]) -> None:
    gotham.node("batman", SENDER)
    gotham.start()
    eventually(lambda: well(gotham), within=15)
    pids = {"redis": gotham.pids()["redis"], "supervisord": gotham.supervisord().pid}
    for name in frozen:
        os.kill(pids[name] or 0, signal.SIGSTOP)
    assert seconds_to_stop(gotham) < STOP_TIMEOUT + 6.0


def test_a_redis_that_never_answers_is_killed_soon(gotham: Hive) -> None:
    gotham.node("batman", SENDER)
    gotham.start()
    eventually(lambda: well(gotham), within=15)
    ask(gotham.folder / "var/redis.sock", "EVAL", "while true do end", "0", timeout=0.2)
    assert ask(gotham.folder / "var/redis.sock", "PING", timeout=0.2) is None
    assert seconds_to_stop(gotham) < STOP_TIMEOUT + 8.0


def seconds_to_stop(gotham: Hive) -> float:
    before = time.monotonic()
    assert gotham.run("hived", "stop").returncode == 0
    assert gotham.processes() == []
    return time.monotonic() - before


@pytest.mark.parametrize("command", [("start",), ("stop",), ("reload",), ("start", "--foreground")], ids="-".join)
def test_a_hive_that_cannot_be_written_is_one_sentence(gotham: Hive, command: tuple[str, ...]) -> None:
    gotham.write("var", "in the way of the folder")
    done = gotham.run("hived", *command)
    where = gotham.folder / "var"
    where.unlink()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: hived cannot write its files: {where}")
    assert "Traceback" not in done.stderr


def test_a_long_path_moves_the_sockets_and_nothing_else(tmp_path: Path) -> None:
    with hive_in(tmp_path / ("deep" * 30)) as hive:
        hive.node("batman")
        hive.start()
        assert hive.states()["batman.0"] in UP
        sockets = hive.engine.paths.runtime
        assert sockets != hive.engine.paths.var
        assert hive.run("hived", "stop").returncode == 0
        assert not sockets.exists()


@pytest.mark.parametrize("command", ["start", "stop", "status"])
def test_ctrl_c_ends_settings_that_never_end(gotham: Hive, command: str) -> None:
    gotham.configure("open('begun', 'w').close()\nwhile True: pass")
    process = subprocess.Popen(
        gotham.command("hived", command), cwd=gotham.folder, env=gotham.environ, stderr=subprocess.PIPE, text=True
    )
    try:
        eventually((gotham.folder / "begun").exists, within=15)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[1].strip() == ""
    finally:
        process.kill()
        gotham.configure()
    assert process.returncode == 130


def test_an_awkward_folder_is_no_trouble(tmp_path: Path) -> None:
    with hive_in(tmp_path / "50% 'of' my \"hives") as hive:
        hive.node("batman")
        hive.start()
        assert hive.states()["batman.0"] in UP


def test_a_stop_names_who_it_waits_for(gotham: Hive) -> None:
    gotham.node("batman", SENDER)
    gotham.start()
    kill(gotham.copies("batman")[0], signal.SIGSTOP)
    done = gotham.run("hived", "stop")
    assert done.returncode == 0
    assert "waiting for batman.0 (stopped by a signal) to end, for 2 s: who has not ended after 3 s" in done.stderr


def test_status_of_a_hive_that_does_not_run_says_what_to_do(gotham: Hive) -> None:
    assert "start the hive with `hm dev` or `hived start`" in gotham.run("hm", "why", "root").stdout
    done = gotham.run("hived", "status")
    assert (done.returncode, "hived start" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    "mistake", [pytest.param("LEASE = 0.1", marks=pytest.mark.drill), "def ("], ids=["wrong value", "syntax error"]
)
def test_broken_settings_lock_nobody_out_of_a_hive_that_runs(gotham: Hive, mistake: str) -> None:
    gotham.node("batman")
    gotham.start()
    eventually(lambda: well(gotham) and all("running:" in gotham.log(name) for name in ("batman", "root")), within=20)
    gotham.configure(mistake)
    try:
        shown = gotham.run("hived", "status")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert "batman.0" in shown.stdout
        assert "warning: " in shown.stderr
        assert "config/hive.py:" in shown.stderr
        assert "batman.0" in gotham.run("hm", "logs", "batman").stdout
        assert "use `hived stop`" in gotham.run("hm", "redis", "stop").stderr
        assert gotham.run("hived", "stop").returncode == 0
        assert gotham.processes() == []
        assert gotham.run("hm", "redis", "stop").stdout == "it was not running\n"
    finally:
        gotham.configure()
