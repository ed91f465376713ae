"""hived, end to end: a real supervisord, real nodes, the embedded Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind.bus.server_program import ask

from .hive_kit import QUIET, SENDER, Hive, hive_in, kill
from .servers import RedisServer
from .waiting import eventually

STOP_TIMEOUT = 3.0  # as hive_kit sets it
UP = {"starting", "running"}
pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path / "gotham") as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    """One running hive for tests that leave it well; use ``running``."""
    with hive_in(tmp_path_factory.mktemp("shared") / "gotham") as made:
        made.node("batman")
        made.node("robin")
        made.start()
        yield made


@pytest.fixture
def running(shared: Hive) -> Iterator[Hive]:
    """A hive that runs batman and robin; its files are put back afterwards."""
    eventually(lambda: well(shared), within=20)
    files = [shared.folder / "config/hive.py", shared.folder / "nodes/__init__.py"]
    before = [file.read_text() for file in files]
    yield shared
    for file, text in zip(files, before, strict=True):
        file.write_text(text)
    shared.environ.pop("HIVEMIND_LOG_LEVEL", None)
    shared.run("hived", "reload")


def well(hive: Hive) -> bool:
    found = hive.status()
    assert found.is_well, found
    return True


def test_start_runs_everything_and_stop_leaves_nothing(hive: Hive) -> None:
    hive.node("batman")
    hive.node("robin")
    hive.start()
    eventually(lambda: well(hive), within=15)
    assert sorted(hive.states()) == ["batman.0", "redis", "robin.0", "root"]
    assert hive.run("hived", "stop").returncode == 0
    assert hive.processes() == []
    assert not (hive.folder / "var/supervisord.sock").exists()


def test_start_on_a_running_hive_says_so_and_touches_nothing(running: Hive) -> None:
    before = running.pids()
    again = running.run("hived", "start")
    assert (again.returncode, "already runs" in again.stdout) == (0, True)
    assert running.pids() == before


def test_when_start_returns_redis_answers(hive: Hive) -> None:
    assert hive.run("hived", "start").returncode == 0
    assert "Redis does not answer" not in hive.run("hived", "status").stderr


def test_of_two_starts_at_once_one_wins(hive: Hive) -> None:
    hive.node("batman")
    command = hive.command("hived", "start")
    both = [
        subprocess.Popen(command, cwd=hive.folder, env=hive.environ, stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    said = [process.communicate(timeout=40)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("already runs" in text for text in said) == [False, True]
    assert len(hive.processes("supervisor.supervisord")) == 1


def test_redis_stops_last(hive: Hive) -> None:
    hive.node("batman")
    hive.start()
    hive.run("hived", "stop")
    lines = (hive.folder / "var/log/supervisord.log").read_text().splitlines()
    stopped = [line.split("stopped: ")[1].split()[0] for line in lines if "stopped: " in line]
    assert stopped.index("redis") > max(stopped.index("batman.0"), stopped.index("root"))


def test_stopping_what_does_not_run_is_well(hive: Hive) -> None:
    done = hive.run("hived", "stop")
    assert (done.returncode, "did not run" in done.stdout) == (0, True)


def test_killing_supervisord_restarts_no_node_and_doubles_none(hive: Hive) -> None:
    hive.node("batman", SENDER)
    hive.start()
    eventually(lambda: well(hive), within=15)
    before, old = hive.pids(), hive.supervisord()
    kill(old)
    eventually(lambda: hive.engine.supervisord() not in (None, old), within=15)
    eventually(lambda: all(each.state == "running" for each in hive.status().programs), within=15)
    assert hive.pids() == before
    assert all(each.adopted for each in hive.status().programs)
    assert len(hive.copies("batman")) == 1
    assert hive.run("hived", "stop").returncode == 0
    assert hive.processes() == []


def test_supervisord_and_listener_killed_together_are_made_good_by_start(hive: Hive) -> None:
    hive.node("batman")
    hive.start()
    before, listener = hive.pids(), hive.listener()
    kill(listener, signal.SIGSTOP)
    kill(hive.supervisord())
    kill(listener)
    eventually(lambda: hive.engine.supervisord() is None)
    assert "goes on" in hive.start().stderr
    assert hive.pids() == before


def test_survivors_of_an_older_configuration_are_adopted_then_rolled(hive: Hive) -> None:
    hive.node("batman")
    hive.node("robin")
    hive.start()
    before, listener = hive.pids(), hive.listener()
    kill(listener, signal.SIGSTOP)
    kill(hive.supervisord())
    kill(listener)
    eventually(lambda: hive.engine.supervisord() is None)
    hive.configure('NODES = {"batman": {"env": {"MASK": "black"}}}')
    hive.start()
    eventually(lambda: hive.program("batman.0").pid not in (None, before["batman.0"]), within=20)
    assert hive.program("robin.0").pid == before["robin.0"]
    eventually(lambda: len(hive.copies("batman")) == 1)


def test_a_killed_listener_comes_back_and_nothing_else_notices(running: Hive) -> None:
    before, listener = running.pids(), running.listener()
    kill(listener)
    eventually(
        lambda: [each.pid for each in running.processes("supervisor.daemon")] not in ([], [listener.pid]), within=10
    )
    assert running.pids() == before


def test_a_frozen_supervisord_is_stopped_all_the_same(hive: Hive) -> None:
    hive.node("batman")
    hive.start()
    kill(hive.supervisord(), signal.SIGSTOP)
    assert hive.run("hived", "stop").returncode == 0
    eventually(lambda: hive.processes() == [])


@pytest.mark.parametrize("frozen", [("redis",), ("supervisord",), ("redis", "supervisord")], ids="-".join)
def test_a_stop_takes_little_more_than_its_time_whatever_is_frozen(hive: Hive, frozen: tuple[str, ...]) -> None:
    hive.node("batman", SENDER)
    hive.start()
    eventually(lambda: well(hive), within=15)
    pids = {"redis": hive.pids()["redis"], "supervisord": hive.supervisord().pid}
    for name in frozen:
        os.kill(pids[name] or 0, signal.SIGSTOP)
    assert seconds_to_stop(hive) < STOP_TIMEOUT + 6.0


def test_a_redis_that_never_answers_is_killed_soon(hive: Hive) -> None:
    hive.node("batman", SENDER)
    hive.start()
    eventually(lambda: well(hive), within=15)
    ask(hive.folder / "var/redis.sock", "EVAL", "while true do end", "0", timeout=0.2)
    assert ask(hive.folder / "var/redis.sock", "PING", timeout=0.2) is None
    assert seconds_to_stop(hive) < STOP_TIMEOUT + 8.0


def seconds_to_stop(hive: Hive) -> float:
    before = time.monotonic()
    assert hive.run("hived", "stop").returncode == 0
    assert hive.processes() == []
    return time.monotonic() - before


BROKEN = {
    "syntax": ("def (", "SyntaxError", 1),
    "missing": ("\nimport no_such_module\n", "no_such_module", 2),
    "boom": ("\n\n1 / 0\n", "ZeroDivisionError", 3),
    "leaving": ("raise SystemExit(3)\n", "SystemExit", 1),
}


def test_broken_nodes_are_quarantined_with_file_and_line_and_the_others_run(hive: Hive) -> None:
    for name, (code, _, _) in BROKEN.items():
        hive.node(name, code)
    hive.node("batman")
    hive.configure('NODES = {"ghost": {"target": "nodes.batman.batman:Joker"}}')
    hive.start()
    found = {each.name: each for each in hive.status().programs}
    assert found["batman.0"].state in UP
    for name, (_, reason, line) in BROKEN.items():
        assert found[name].state == "quarantined"
        assert f"nodes/{name}/{name}.py:{line}:" in found[name].detail
        assert reason in found[name].detail
    assert "Joker" in found["ghost"].detail
    shown = hive.run("hived", "status")
    assert (shown.returncode, "nodes/boom/boom.py:3" in shown.stdout) == (1, True)


def test_twenty_broken_nodes_hide_no_other(hive: Hive) -> None:
    for number in range(20):
        hive.node(f"broken{number}", "def (")
    hive.node("batman")
    hive.start()
    states = list(hive.states().values())
    assert states.count("quarantined") == 20
    assert hive.states()["batman.0"] in UP


def test_a_broken_node_runs_once_its_file_is_mended(hive: Hive) -> None:
    file = hive.node("batman", "def (")
    hive.start()
    assert hive.states()["batman"] == "quarantined"
    file.write_text(QUIET.replace("{name}", "Batman"))
    eventually(lambda: hive.states().get("batman.0") == "running", within=15)


def test_a_fault_in_the_list_of_nodes_keeps_the_nodes_known_before(running: Hive) -> None:
    before = running.pids()
    running.write("nodes/__init__.py", "from .batman import (")
    done = running.run("hived", "reload")
    assert (done.returncode, "nodes/__init__.py:1" in done.stderr) == (1, True)
    assert running.program("batman.0").pid == before["batman.0"]


FAILS_WITHOUT_A_CAVE = f"""
import os, pathlib
if "HIVEMIND_SUPERVISED" in os.environ and not pathlib.Path("cave").exists():
    os._exit(1)
{QUIET}
"""


def test_a_program_that_supervisord_gave_up_is_revived(hive: Hive) -> None:
    hive.node("batman", FAILS_WITHOUT_A_CAVE)
    hive.start()
    eventually(lambda: hive.program("batman.0").revivals >= 2, within=15)
    hive.write("cave", "")
    eventually(lambda: hive.program("batman.0").state == "running", within=20)


def test_a_killed_node_is_restarted(running: Hive) -> None:
    before = running.program("batman.0").pid
    os.kill(running.copies("batman")[0].pid, signal.SIGKILL)
    eventually(lambda: running.program("batman.0").pid not in (None, before), within=10)


def test_a_hung_node_is_killed_and_restarted(running: Hive) -> None:
    eventually(lambda: "running:" in running.log("batman"), within=10)
    eventually(lambda: running.status().redis)
    before = running.pids()
    eventually(lambda: (running.program("batman.0").uptime or 0.0) > 3.0, within=10)
    kill(running.copies("batman")[0], signal.SIGSTOP)
    eventually(lambda: running.program("batman.0").pid not in (None, before["batman.0"]), within=15)
    assert running.program("robin.0").pid == before["robin.0"]
    assert "batman.0" in running.log("hived")


FORKING_AND_HANGING = """
import pathlib, subprocess
from hivemind import Node, service

class {name}(Node):
    @service("{topic}", every=0.2)
    async def tick(self, service):
        if not pathlib.Path("forked").exists():
            pathlib.Path("forked").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
            while True:
                pass
"""


def test_what_a_hung_node_forked_is_killed_with_it(hive: Hive) -> None:
    hive.node("batman", FORKING_AND_HANGING)
    hive.start()
    (child,) = eventually(lambda: hive.processes("sleep 600"), within=15)
    eventually(lambda: "it hangs, and is killed" in hive.log("hived"), within=15)
    eventually(lambda: not child.is_running(), within=10)


def test_stop_ends_what_a_killed_node_left_behind(hive: Hive) -> None:
    hive.node("batman", FORKING_AND_HANGING)
    hive.start()
    (child,) = eventually(lambda: hive.processes("sleep 600"), within=15)
    kill(hive.listener(), signal.SIGSTOP)  # so that nothing but the stop can end it
    kill(hive.supervisord(), signal.SIGSTOP)
    kill(hive.copies("batman")[0])
    assert child.is_running()
    assert hive.run("hived", "stop").returncode == 0
    assert hive.processes() == []
    assert list((hive.folder / "var/run").glob("*.pid")) == []


def test_the_watchdog_holds_off_while_redis_is_frozen(running: Hive) -> None:
    eventually(lambda: well(running), within=15)
    before = running.pids()
    (redis,) = running.processes("unixsocket")
    kill(redis, signal.SIGSTOP)
    eventually(lambda: running.status().redis is False)
    first = running.program("batman.0").uptime or 0.0
    eventually(lambda: (running.program("batman.0").uptime or 0.0) > first + 5.0, within=15)
    kill(redis, signal.SIGCONT)
    eventually(lambda: running.status().redis)
    assert running.pids() == before


def test_reload_touches_only_what_changed(running: Hive) -> None:
    before = running.pids()
    assert "nothing was touched" in running.run("hived", "reload").stdout
    running.configure('NODES = {"batman": {"env": {"MASK": "black"}}, "robin": {"replicas": 2}}')
    said = running.run("hived", "reload").stdout
    assert ("batman.0: restarted" in said, "robin.1: started" in said) == (True, True)
    after = running.pids()
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"batman.0", "robin.1"}


def test_a_reload_that_contradicts_the_hive_is_refused_and_touches_nothing(running: Hive) -> None:
    running.node("joker", enable=False)
    before = running.pids()
    running.configure('NODES = {"joker": {"replicas": 2}}')
    done = running.run("hived", "reload")
    assert (done.returncode, "uncomment `from .joker import joker`" in done.stderr) == (1, True)
    assert running.pids() == before


def test_what_is_set_where_reload_is_typed_does_not_count(running: Hive) -> None:
    running.environ["HIVEMIND_LOG_LEVEL"] = "DEBUG"
    assert "nothing was touched" in running.run("hived", "reload").stdout


def test_reload_without_a_running_hive_says_what_to_do(hive: Hive) -> None:
    done = hive.run("hived", "reload")
    assert (done.returncode, "hived start" in done.stderr) == (1, True)


def test_a_full_disk_is_one_sentence_at_a_reload(running: Hive) -> None:
    (running.folder / "var/supervisord.new").symlink_to("/dev/full")
    done = running.run("hived", "reload")
    (running.folder / "var/supervisord.new").unlink()
    where = running.folder / "var"
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: hived cannot write its files: {where}: No space left on device"


@pytest.mark.parametrize("command", [("start",), ("stop",), ("reload",), ("start", "--foreground")], ids="-".join)
def test_a_hive_that_cannot_be_written_is_one_sentence(hive: Hive, command: tuple[str, ...]) -> None:
    hive.write("var", "in the way of the folder")
    done = hive.run("hived", *command)
    where = hive.folder / "var"
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
def test_ctrl_c_ends_settings_that_never_end(hive: Hive, command: str) -> None:
    hive.configure("open('begun', 'w').close()\nwhile True: pass")
    process = subprocess.Popen(
        hive.command("hived", command), cwd=hive.folder, env=hive.environ, stderr=subprocess.PIPE, text=True
    )
    try:
        eventually((hive.folder / "begun").exists, within=15)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[1].strip() == ""
    finally:
        process.kill()
        hive.configure()
    assert process.returncode == 130


def test_an_awkward_folder_is_no_trouble(tmp_path: Path) -> None:
    with hive_in(tmp_path / "50% 'of' my \"hives") as hive:
        hive.node("batman")
        hive.start()
        assert hive.states()["batman.0"] in UP


def test_status_as_json_is_the_same_for_programs(running: Hive) -> None:
    found = json.loads(running.run("hived", "status", "--json").stdout)
    assert {"batman.0", "redis", "root"} <= {each["name"] for each in found["programs"]}
    assert found["running"] is True


def test_status_of_a_hive_that_does_not_run_says_what_to_do(hive: Hive) -> None:
    done = hive.run("hived", "status")
    assert (done.returncode, "hived start" in done.stdout) == (1, True)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_hiveds_with_one_configuration_on_one_redis_restart_nobody(own_server: RedisServer, tmp_path: Path) -> None:
    more = f"REDIS_URL = {own_server.url!r}"
    with hive_in(tmp_path / "a", more=more) as first, hive_in(tmp_path / "b", more=more) as second:
        for hive in (first, second):
            hive.node("batman", SENDER)
            hive.node("robin")
        first.start()
        eventually(lambda: well(first), within=15)
        second.start()
        eventually(lambda: second.program("batman.0").state == "standby", within=20)
        before = first.pids() | {f"second {name}": pid for name, pid in second.pids().items()}
        eventually(lambda: (second.program("batman.0").uptime or 0.0) > 60.0, within=90)
        after = first.pids() | {f"second {name}": pid for name, pid in second.pids().items()}
        assert after == before
        assert f"process {before['batman.0']}" in second.program("batman.0").detail
        os.kill(first.copies("batman")[0].pid, signal.SIGKILL)
        eventually(lambda: "running:" in first.log("batman") + second.log("batman"), within=10)
