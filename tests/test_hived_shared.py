"""Nodes that share a process, in a hive that hived runs: one program, one life, and nobody harmed by another."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from .hive_kit import QUIET, SENDER, UP, Hive, hive_in, kill, well
from .test_foreground import Terminal
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)

SMALL = 'NODES = {{name: {{"process": "small"}} for name in {names}}}'
LOUD = """
from hivemind import Node

class {name}(Node):
    def on_start(self):
        self.log_info("here I am")
        print("printed at the start")

    def services(self):
        print("printed when it was loaded")
        self.add_service("{topic}.thread", self.on_thread, every=60.0)
        self.add_service("{topic}.loop", self.on_loop, every=60.0)

    def on_thread(self, service):
        print("printed on a thread")

    async def on_loop(self, service):
        print("printed on the loop")
"""


def small(*names: str) -> str:
    """The setting that puts these nodes into one process."""
    return SMALL.format(names=names)


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    """batman and robin share a process, joker has one of its own."""
    with hive_in(tmp_path / "gotham", more=small("batman", "robin")) as made:
        made.node("batman", SENDER)
        made.node("robin")
        made.node("joker")
        yield made


def members(hive: Hive) -> dict[str, str]:
    """State by member of the one copy of the process that should run."""
    nodes = orjson.loads(hive.run("hm", "nodes", "--json").stdout)
    copies = [each for each in nodes if each["node"] == "small" and each["state"] == "running"]
    assert len(copies) == 1, nodes
    return {each["name"]: each["state"] for each in copies[0]["members"]}


def settled(hive: Hive, *names: str) -> None:
    """Wait until exactly these members run."""
    eventually(lambda: members(hive) == dict.fromkeys(names, "running"), within=20)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.drill)])
def test_a_process_that_is_killed_or_hangs_comes_back_with_all_its_members(hive: Hive, number: int) -> None:
    hive.start()
    settled(hive, "batman", "robin")
    assert sorted(hive.states()) == ["joker.0", "redis", "root", "small.0"]
    before = hive.pids()
    (process,) = hive.copies("small")
    kill(process, number)
    eventually(lambda: hive.pids()["small.0"] not in (None, before["small.0"]), within=20)
    settled(hive, "batman", "robin")
    eventually(lambda: well(hive), within=20)
    assert {name for name, pid in hive.pids().items() if pid != before[name]} == {"small.0"}
    assert hive.run("hm", "status").returncode == 0


@pytest.mark.long
def test_a_broken_member_is_quarantined_the_others_run_and_mended_it_joins_them(hive: Hive) -> None:
    robin = hive.write("nodes/robin/robin.py", "\n1 / 0\n")
    hive.start()
    settled(hive, "batman")
    found = hive.program("robin")
    assert (found.state, "nodes/robin/robin.py:2: ZeroDivisionError" in found.detail) == ("quarantined", True)
    why = hive.run("hm", "why", "robin").stdout
    assert "robin is quarantined: nodes/robin/robin.py:2" in why
    assert "robin shares the process small with batman" in why
    joker = hive.pids()["joker.0"]
    robin.write_text(QUIET.replace("{name}", "Robin"))
    settled(hive, "batman", "robin")
    assert hive.pids()["joker.0"] == joker


@pytest.mark.long
def test_a_running_process_is_not_touched_by_a_member_that_would_not_load(hive: Hive) -> None:
    hive.start()
    settled(hive, "batman", "robin")
    before = hive.pids()
    hive.write("nodes/robin/robin.py", "import nothere\n")
    done = hive.run("hm", "restart", "small")
    assert (done.returncode, done.stdout.startswith("small.0: robin: nodes/robin/robin.py:1: Module")) == (1, True)
    hive.configure(small("batman", "robin", "joker"))
    reloaded = hive.run("hived", "reload")
    assert (reloaded.returncode, "it goes on as it was" in reloaded.stderr) == (1, True)
    assert hive.pids()["small.0"] == before["small.0"]


@pytest.mark.long
def test_a_member_that_is_left_out_when_its_process_comes_back_is_quarantined_and_mended_it_joins(hive: Hive) -> None:
    hive.start()
    settled(hive, "batman", "robin")
    hive.write("nodes/robin/robin.py", "def (")
    goes_on = hive.run("hm", "why", "robin").stdout
    assert "robin could not be loaded again as its file is now: nodes/robin/robin.py:1: SyntaxError" in goes_on
    assert ("it goes on as it was" in goes_on, "is quarantined" in goes_on) == (True, False)
    pid = hive.pids()["small.0"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: members(hive) == {"batman": "running", "robin": "broken"}, within=20)
    found = hive.program("robin")
    assert (found.state, "nodes/robin/robin.py:1: SyntaxError" in found.detail) == ("quarantined", True)
    status = hive.run("hm", "status")
    assert (status.returncode, "in small.0 robin cannot be loaded" in status.stdout) == (1, True)
    assert hive.run("hived", "status").returncode == 1
    assert "goes on as it was" not in hive.run("hm", "why", "robin").stdout
    joker = hive.pids()["joker.0"]
    hive.node("robin", enable=False)
    settled(hive, "batman", "robin")
    assert hive.pids()["joker.0"] == joker


def test_a_member_that_comes_or_goes_restarts_only_its_process(hive: Hive) -> None:
    hive.node("alfred")
    hive.start()
    settled(hive, "batman", "robin")
    before = hive.pids()
    hive.configure(small("batman", "robin", "joker"))
    said = hive.run("hived", "reload").stdout
    assert sorted(line.partition(" ready")[0] for line in said.splitlines()) == [
        "joker.0: stopped",
        "small.0: rolled: successor",
    ]
    settled(hive, "batman", "robin", "joker")
    assert hive.pids()["alfred.0"] == before["alfred.0"]
    hive.configure(small("batman"))
    assert sorted(line.partition(" ready")[0] for line in hive.run("hived", "reload").stdout.splitlines()) == [
        "joker.0: started",
        "robin.0: started",
        "small.0: rolled: successor",
    ]
    settled(hive, "batman")


def test_a_member_is_not_acted_on_alone_and_one_is_told_what_to_do(hive: Hive) -> None:
    hive.start()
    before = hive.pids()
    for verb, more in (("stop", ()), ("restart", ()), ("start", ()), ("scale", ("2",))):
        done = hive.run("hm", verb, "batman", *more)
        todo = " ".join(("hm", verb, "small", *more))
        said = f"batman: shares the process small with robin: `{todo}` does it for the whole process\n"
        assert (done.returncode, done.stdout) == (1, said)
    assert hive.run("hm", "stop", "joker", "robin").returncode == 1
    assert hive.pids() == before


@pytest.mark.long
def test_a_process_is_stopped_started_restarted_and_scaled_by_its_name(hive: Hive) -> None:
    hive.start()
    assert hive.run("hm", "stop", "small").stdout == "small.0: stopped (batman, robin)\n"
    assert hive.states()["small.0"] == "stopped"
    assert hive.copies("small") == []
    assert hive.run("hm", "start", "small").stdout == "small.0: started (batman, robin)\n"
    assert hive.run("hm", "restart", "small.0").stdout == "small.0: restarted (batman, robin)\n"
    assert "small.1: started (batman, robin)" in hive.run("hm", "scale", "small", "2").stdout
    assert len(hive.copies("small")) == 2
    assert hive.states()["joker.0"] in UP


def test_nodes_why_and_logs_tell_each_member(hive: Hive) -> None:
    hive.write("nodes/robin/robin.py", LOUD.replace("{name}", "Robin").replace("{topic}", "robin"))
    hive.start()
    settled(hive, "batman", "robin")
    rows = [line.split()[:2] for line in hive.run("hm", "nodes").stdout.splitlines()]
    at = rows.index(["small.0", "running"])
    assert rows[at + 1 : at + 3] == [["batman", "running"], ["robin", "running"]]
    batman, both = hive.run("hm", "why", "batman").stdout, hive.run("hm", "why", "small").stdout
    assert "batman shares the process small with robin: they start and stop together" in batman
    assert "  service batman is running" in batman
    assert "robin is running" not in batman
    assert "small is the process that batman, robin share" in both
    assert ("  batman is running" in both, "  robin is running" in both) == (True, True)
    logs = hive.run("hm", "logs", "robin").stdout
    assert "INFO     small/robin  here I am" in logs
    for where in ("when it was loaded", "at the start", "on a thread", "on the loop"):
        assert f"INFO     small/robin  printed {where}" in logs
    assert "INFO     small.0  running: batman, robin" in logs
    assert "robin" in hive.run("hived", "status").stdout


def test_settings_that_contradict_each_other_start_nothing(hive: Hive) -> None:
    hive.configure('NODES = {"batman": {"process": "joker"}}')
    done = hive.run("hived", "start")
    assert (done.returncode, "the process of batman is called joker, but so is a node" in done.stderr) == (1, True)


def test_hm_dev_names_members_and_restarts_the_process_whose_file_changed(hive: Hive) -> None:
    hive.write("nodes/batman/batman.py", LOUD.replace("{name}", "Batman").replace("{topic}", "batman"))
    terminal = Terminal(hive, "hm", "dev", "--no-root")
    terminal.shows("small.0 | batman: here I am")
    settled(hive, "batman", "robin")
    hive.write(
        "nodes/batman/batman.py",
        LOUD.replace("{name}", "Batman").replace("{topic}", "batman").replace("here I am", "here again"),
    )
    terminal.shows("changed: restarting small")
    terminal.shows("small.0 | batman: here again")
    settled(hive, "batman", "robin")
    assert "restarting joker" not in terminal.text()
    hive.write("nodes/robin/robin.py", "def (")
    terminal.shows("small goes on as it was")
    settled(hive, "batman", "robin")
    assert terminal.end() == 0
