"""hived makes good what dies, hangs or fails, and touches nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from hivemind.bus.server_program import ask
from hivemind.cli.reading import read_instances
from hivemind.errors import RedisUnavailable
from hivemind.topics import Names

from .hive_kit import QUIET, SENDER, Hive, hive_in, kill, well
from .servers import RedisServer
from .waiting import eventually

pytestmark = pytest.mark.timeout(90)


def kill_both(hive: Hive) -> None:
    """supervisord and hived, which has no time to start another one."""
    listener = hive.listener()
    kill(listener, signal.SIGSTOP)
    kill(hive.supervisord())
    kill(listener)
    eventually(lambda: hive.engine.supervisord() is None)


def test_killing_supervisord_restarts_no_node_and_doubles_none(gotham: Hive) -> None:
    gotham.node("batman", SENDER)
    gotham.start()
    eventually(lambda: well(gotham), within=15)
    before, old = gotham.pids(), gotham.supervisord()
    kill(old)
    eventually(lambda: gotham.engine.supervisord() not in (None, old), within=15)
    eventually(lambda: all(each.state == "running" for each in gotham.status().programs), within=15)
    assert gotham.pids() == before
    assert all(each.adopted for each in gotham.status().programs)
    assert len(gotham.copies("batman")) == 1
    assert gotham.run("hived", "stop").returncode == 0
    assert gotham.processes() == []


def test_supervisord_and_listener_killed_together_are_made_good_by_start(gotham: Hive) -> None:
    gotham.node("batman")
    gotham.start()
    before = gotham.pids()
    kill_both(gotham)
    alone = gotham.run("hm", "status")
    assert "hived has ended without being asked to: who ends is not started again" in alone.stdout
    assert alone.returncode == 1
    here, why = gotham.run("hived", "status"), gotham.run("hm", "why", "hived")
    assert (here.returncode, why.returncode) == (1, 1)
    for said in (here.stdout, why.stdout):
        assert "hived does not run here, but batman.0, redis, root still do: who ends is not started again" in said
    assert "goes on" in gotham.start().stderr
    assert "hived has ended" not in gotham.run("hm", "status").stdout
    assert gotham.pids() == before
    why = gotham.run("hm", "why", "hived")
    assert (why.returncode, f"process {gotham.listener().pid}, for " in why.stdout) == (0, True), why.stdout
    assert "It keeps batman.0, redis, root alive." in why.stdout
    assert "root runs well. root.0 has been running for " in gotham.run("hm", "why", "root").stdout
    gotham.run("hm", "stop", "root")
    assert "root.0 was stopped by `hm stop`; `hm start root` starts it." in gotham.run("hm", "why", "root").stdout


@pytest.mark.long
def test_survivors_of_an_older_configuration_are_adopted_then_rolled(gotham: Hive) -> None:
    gotham.node("batman")
    gotham.node("robin")
    gotham.start()
    before = gotham.pids()
    kill_both(gotham)
    gotham.configure('NODES = {"batman": {"env": {"MASK": "black"}}}')
    gotham.start()
    eventually(lambda: gotham.program("batman.0").pid not in (None, before["batman.0"]), within=20)
    assert gotham.program("robin.0").pid == before["robin.0"]
    eventually(lambda: len(gotham.copies("batman")) == 1)


def test_a_kill_is_one_line_in_hiveds_log(running: Hive) -> None:
    said, before = "batman.0 died of SIGKILL after ", running.pids()["batman.0"]
    told = running.log("hived").count(said)
    kill(running.copies("batman")[0])
    eventually(lambda: running.log("hived").count(said) > told, within=20)
    eventually(lambda: running.program("batman.0").state == "running", within=20)
    assert (running.log("hived").count(said) - told, running.pids()["batman.0"] != before) == (1, True)


def test_a_killed_listener_comes_back_and_nothing_else_notices(running: Hive) -> None:
    before, listener = running.pids(), running.listener()
    kill(listener)
    eventually(
        lambda: [each.pid for each in running.processes("supervisor.daemon")] not in ([], [listener.pid]), within=10
    )
    assert running.pids() == before


FAILS_WITHOUT_A_CAVE = f"""
import os, pathlib
if "HIVEMIND_SUPERVISED" in os.environ and not pathlib.Path("cave").exists():
    os._exit(1)
{QUIET}
"""


def test_a_program_that_supervisord_gave_up_is_revived(gotham: Hive) -> None:
    gotham.node("batman", FAILS_WITHOUT_A_CAVE)
    gotham.start()
    eventually(lambda: gotham.program("batman.0").revivals >= 2, within=15)
    gotham.write("cave", "")
    eventually(lambda: gotham.program("batman.0").state == "running", within=20)


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
        while pathlib.Path("hang").exists():
            pass
"""


@pytest.mark.long
def test_what_a_hung_node_forked_is_killed_with_it(gotham: Hive) -> None:
    gotham.node("batman", FORKING_AND_HANGING)
    gotham.start()
    (child,) = eventually(lambda: gotham.processes("sleep 600"), within=15)
    (gotham.folder / "hang").touch()
    eventually(lambda: "it hangs, and is killed" in gotham.log("hived"), within=15)
    eventually(lambda: not child.is_running(), within=10)


def test_stop_ends_what_a_killed_node_left_behind(gotham: Hive) -> None:
    gotham.node("batman", FORKING_AND_HANGING)
    gotham.start()
    (child,) = eventually(lambda: gotham.processes("sleep 600"), within=15)
    (gotham.folder / "hang").touch()
    kill(gotham.listener(), signal.SIGSTOP)  # so that nothing but the stop can end it
    kill(gotham.supervisord(), signal.SIGSTOP)
    kill(gotham.copies("batman")[0])
    assert child.is_running()
    assert gotham.run("hived", "stop").returncode == 0
    assert gotham.processes() == []
    assert list((gotham.folder / "var/run").glob("*.pid")) == []


def test_a_copy_that_was_run_by_hand_and_is_long_lost_is_forgotten_and_no_other(running: Hive) -> None:
    names, redis = Names("gotham"), running.folder / "var/redis.sock"
    for lost, ago in (("robin.7", 599_000), ("batman.7", 601_000), ("penguin.0", 601_000)):
        ask(redis, "SET", names.epoch(lost), "7", "PX", str(86_400_000 - ago), timeout=1.0)
        ask(redis, "SADD", names.nodes(), lost, timeout=1.0)
    eventually(lambda: ask(redis, "SISMEMBER", names.nodes(), "batman.7", timeout=1.0) == ":0", within=10)
    assert ask(redis, "SISMEMBER", names.nodes(), "penguin.0", timeout=1.0) == ":1"  # another host may declare it
    eventually(lambda: ask(redis, "SISMEMBER", names.nodes(), "robin.7", timeout=1.0) == ":0", within=10)
    eventually(lambda: "batman.7, which was started by hand" in running.log("hived"))
    ask(redis, "SREM", names.nodes(), "penguin.0", timeout=1.0)


def test_the_watchdog_holds_off_while_redis_is_frozen(running: Hive) -> None:
    eventually(lambda: well(running), within=15)
    before = running.pids()
    (redis,) = running.processes("unixsocket")
    kill(redis, signal.SIGSTOP)
    eventually(lambda: running.status().redis is False)
    assert "is stopped by a signal: hived replaces it after 20 s" in running.run("hm", "why", "batman").stdout
    began = time.monotonic()
    with pytest.raises(RedisUnavailable, match="is stopped by a signal"):
        read_instances(running.engine.settings)
    assert time.monotonic() - began < 2.5  # what `hm` needs to start comes to that
    first = running.program("batman.0").uptime or 0.0
    eventually(lambda: (running.program("batman.0").uptime or 0.0) > first + 5.0, within=15)
    kill(redis, signal.SIGCONT)
    eventually(lambda: running.status().redis)
    assert running.pids() == before


@pytest.mark.drill
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
