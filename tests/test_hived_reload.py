"""What is asked of a hive that runs: start again, reload, status. Only what changed is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from .hive_kit import Hive
from .waiting import eventually

pytestmark = pytest.mark.timeout(90)


def test_start_on_a_running_hive_says_so_and_touches_nothing(running: Hive) -> None:
    before = running.pids()
    again = running.run("hived", "start")
    assert (again.returncode, "already runs" in again.stdout) == (0, True)
    assert running.pids() == before


def test_reload_touches_only_what_changed(running: Hive) -> None:
    before = running.pids()
    assert "nothing was touched" in running.run("hived", "reload").stdout
    running.configure('NODES = {"batman": {"env": {"MASK": "black"}}, "robin": {"replicas": 2}}')
    said = running.run("hived", "reload").stdout
    assert ("batman.0: rolled: successor ready in" in said, "robin.1: started" in said) == (True, True)
    after = running.pids()
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"batman.0", "robin.1"}


CHANGED = 'LEASE = 2.0\nPATTERNS = "resolved"\nNODES = {"robin": {"env": {"MASK": "green"}}}'


@pytest.mark.parametrize("verb", ["restart", "stop"])
def test_only_what_is_named_is_touched_and_what_else_changed_is_said(running: Hive, verb: str) -> None:
    before = running.pids()
    running.configure(CHANGED)
    done = running.run("hm", verb, "batman")
    assert "there are changes for robin.0 and root: `hived reload` applies them" in done.stderr
    assert {name for name, pid in running.pids().items() if pid != before[name]} == {"batman.0"}
    assert "there are changes for robin.0, root" in running.log("hived")
    running.run("hm", "start", "batman")


def test_scale_adds_a_copy_and_touches_no_other_whose_settings_changed(running: Hive) -> None:
    before = running.pids()
    running.configure(CHANGED)
    done = running.run("hm", "scale", "batman", "2")
    assert "there are changes for batman.0, robin.0 and root: `hived reload` applies them" in done.stderr
    assert {name for name, pid in running.pids().items() if pid != before.get(name)} == {"batman.1"}
    assert "batman.1: stopped and removed" in running.run("hm", "scale", "batman", "1").stdout


@pytest.mark.long
def test_a_reload_applies_what_waited(running: Hive) -> None:
    before = running.pids()
    running.configure(CHANGED)
    running.run("hm", "restart", "batman")
    said = running.run("hived", "reload").stdout
    assert ("robin.0: restarted" in said, "batman.0" in said) == (True, False)  # PATTERNS holds for all or for nobody
    assert running.pids()["robin.0"] != before["robin.0"]
    assert "there are changes" not in running.run("hm", "restart", "batman").stderr


def test_a_mended_file_starts_its_own_node_and_applies_nothing_else(running: Hive) -> None:
    running.node("joker", "def (")
    assert running.run("hived", "reload").returncode == 1
    before = running.pids()
    running.configure('NODES = {"robin": {"env": {"MASK": "green"}}}')
    running.node("joker", enable=False)
    eventually(lambda: running.states().get("joker.0") == "running", within=20)
    assert running.pids()["robin.0"] == before["robin.0"]


def test_a_reload_that_contradicts_the_hive_is_refused_and_touches_nothing(running: Hive) -> None:
    running.node("joker", enable=False)
    before = running.pids()
    running.configure('NODES = {"joker": {"replicas": 2}}')
    done = running.run("hived", "reload")
    assert (done.returncode, "uncomment `from .joker import joker`" in done.stderr) == (1, True)
    assert running.pids() == before


def test_a_redis_that_does_not_answer_is_no_place_to_go_to(running: Hive) -> None:
    before = running.pids()
    running.configure('REDIS_URL = "redis://127.0.0.1:1"')
    done = running.run("hived", "reload")
    running.configure()
    assert done.returncode == 1
    assert "Redis at redis://127.0.0.1:1: " in done.stderr
    assert "change REDIS_URL (config/hive.py" in done.stderr
    assert (running.pids(), running.run("hived", "reload").stdout) == (before, "nothing changed: nothing was touched\n")


def test_a_fault_in_the_list_of_nodes_keeps_the_nodes_known_before(running: Hive) -> None:
    before = running.pids()
    running.write("nodes/__init__.py", "from .batman import (")
    done = running.run("hived", "reload")
    assert (done.returncode, "nodes/__init__.py:1" in done.stderr) == (1, True)
    assert running.program("batman.0").pid == before["batman.0"]


def test_what_is_set_where_reload_is_typed_does_not_count_which_is_said(running: Hive, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 64)
    running.environ["HIVEMIND_HIVE_KEY_FILE"] = str(tmp_path / "key")  # with that the page gets a login
    done = running.run("hived", "reload")
    assert "nothing was touched" in done.stdout
    assert "HIVEMIND_HIVE_KEY_FILE is set here, but not so for the hive that runs" in done.stderr
    assert "`hived stop` and `hived start` apply it" in done.stderr


def test_reload_without_a_running_hive_says_what_to_do(gotham: Hive) -> None:
    done = gotham.run("hived", "reload")
    assert (done.returncode, "hived start" in done.stderr) == (1, True)


def test_a_full_disk_is_one_sentence_at_a_reload(running: Hive) -> None:
    where = running.folder / "var"
    (where / "supervisord.conf.new").symlink_to("/dev/full")
    running.configure("STOP_TIMEOUT = 4.0")
    done = running.run("hived", "reload")
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: hived cannot write its files: {where}: No space left on device"


def test_status_as_json_is_the_same_for_programs(running: Hive) -> None:
    found = json.loads(running.run("hived", "status", "--json").stdout)
    assert {"batman.0", "redis", "root"} <= {each["name"] for each in found["programs"]}
    assert found["running"] is True


def test_status_counts_how_often_a_program_was_started_again(running: Hive) -> None:
    before, pid = running.program("batman.0").revivals, running.pids()["batman.0"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: running.program("batman.0").revivals == before + 1, within=20)
    assert "REVIVED  REMARKS" in running.run("hived", "status").stdout


def test_a_reload_returns_when_what_it_restarted_is_up(running: Hive) -> None:
    running.configure('NODES = {"batman": {"env": {"MASK": "blue"}, "restart": "on-failure"}}')
    assert "batman.0: restarted" in running.run("hived", "reload").stdout
    assert running.run("hm", "status").returncode == 0


TWOFACE = """
import sys, time
from hivemind import Node

class {name}(Node):
    def __init__(self):
        if "--check" not in sys.argv:
            time.sleep(2.5)  # supervisord calls it running then, as it does on a busy machine
            sys.exit(3)
        super().__init__()
"""


def test_a_reload_says_what_does_not_stay_up(running: Hive) -> None:
    running.node("twoface", TWOFACE)
    done = running.run("hived", "reload")
    assert (done.returncode, "twoface.0: started, but it does not stay up: " in done.stdout) == (1, True)
    assert "process log" not in done.stdout
    assert "process log" not in running.program("twoface.0").detail
    running.node("harvey", "def (")
    running.run("hived", "reload")
    listed = {line.split()[0]: line.split()[1] for line in running.run("hm", "nodes").stdout.splitlines()}
    assert listed["twoface.0"] in ("failing", "starting"), listed  # it waits, or its next life has begun
    assert (listed["harvey"], listed["batman.0"]) == ("quarantined", "running"), listed
    found = {one["instance"]: one for one in json.loads(running.run("hm", "nodes", "--json").stdout)}
    assert found["harvey"]["state"] == "quarantined"
    assert "SyntaxError" in found["harvey"]["problem"]


FALLEN = """
import os, time
from hivemind.root.controller import RootController

class Fallen(RootController):
    def allowed_hosts(self):
        time.sleep(2.5)
        os._exit(3)
"""


def test_a_reload_says_of_a_root_that_it_dies_before_it_serves(running: Hive) -> None:
    running.write("root/__init__.py", FALLEN)
    running.configure('HIVE_CONTROLLER = "root:Fallen"')
    done = running.run("hived", "reload")
    assert (done.returncode, "root: restarted, but it does not stay up: " in done.stdout) == (1, True), done.stdout


FLEETING = """
import os, threading, time, traceback
from hivemind import Node

class {name}(Node):
    def on_start(self):
        threading.Thread(target=self.end).start()

    def end(self):
        time.sleep(1.1)
        try:
            raise ValueError("no second act")
        except ValueError:
            traceback.print_exc()
        time.sleep(0.1)
        os._exit(3)
"""


@pytest.mark.long
def test_what_dies_a_second_after_it_consumes_is_said_to_and_is_failing_from_then_on(
    running: Hive,
) -> None:
    running.node("fleeting", FLEETING)
    done = running.run("hived", "reload")
    assert (done.returncode, "fleeting.0: started, but it does not stay up: " in done.stdout) == (1, True)
    assert "ValueError: no second act" in done.stdout
    assert "fleeting.0: restarted, but it does not stay up: " in running.run("hm", "restart", "fleeting").stdout
    eventually(lambda: running.program("fleeting.0").failures > 1, within=20)
    for _ in range(5):  # whether it waits or lives at that moment
        assert "fleeting.0 is failing: ended with 3 after " in running.run("hm", "status").stdout
        assert running.program("fleeting.0").state == "failing"


def test_middleware_that_cannot_be_imported_is_refused_before_anything_is_touched(running: Hive) -> None:
    before = running.pids()
    running.configure('MIDDLEWARE = ["watching:Timing"]')
    line = (running.folder / "config/hive.py").read_text().splitlines().index('MIDDLEWARE = ["watching:Timing"]') + 1
    said = f"error: config/hive.py:{line}: MIDDLEWARE: 'watching:Timing' cannot be imported: ModuleNotFoundError"
    for command in (("hived", "reload"), ("hm", "config")):
        done = running.run(*command)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert running.pids() == before
    _is_told(running, "'watching:Timing' cannot be imported: ModuleNotFoundError")
    running.configure('NODES = {"batmn": {"replicas": 2}}')
    assert running.run("hived", "reload").returncode == 1
    _is_told(running, "NODES tunes batmn, but there is no such node, did you mean batman")
    running.configure()
    assert "at fault" not in running.run("hm", "status").stdout


def _is_told(hive: Hive, fault: str) -> None:
    """What is wrong with settings that are not applied is said by all who look."""
    for command in (("hived", "status"), ("hm", "status"), ("hm", "why", "batman"), ("hm", "doctor")):
        done = hive.run(*command)
        assert fault in done.stdout + done.stderr, (command, done)


def _knows_that_the_server_keeps_patterns(hive: Hive) -> bool:
    told = [line for line in hive.log("hived").splitlines() if "the hive runs with PATTERNS" in line]
    return not told or 'PATTERNS = "server" now' in told[-1]


@pytest.mark.long
def test_a_reload_tells_how_patterns_are_kept_from_then_on(running: Hive) -> None:
    eventually(lambda: _knows_that_the_server_keeps_patterns(running), within=20)  # the test before may have changed it
    running.configure('PATTERNS = "resolved"')
    assert 'the hive runs with PATTERNS = "resolved" now' in running.run("hived", "reload").stdout
    said = 'the hive runs with PATTERNS = "resolved" now; before it was "server"'
    eventually(lambda: said in running.log("hived"), within=20)


@pytest.mark.long
def test_a_reload_says_that_patterns_stay_while_others_live(running: Hive) -> None:
    running.node("alfred", enable=False)
    by_hand = subprocess.Popen(running.command("hm", "run", "alfred"), cwd=running.folder, env=running.environ)
    try:
        eventually(lambda: "alfred." in running.run("hm", "nodes").stdout, within=20)
        running.configure('PATTERNS = "resolved"')
        done = running.run("hived", "reload")
        assert 'PATTERNS = "resolved" does not hold yet, because others of this hive live' in done.stderr
    finally:
        by_hand.terminate()
        by_hand.wait(10)


def test_a_reload_names_a_running_node_whose_file_is_broken_by_now(running: Hive) -> None:
    before, file = running.pids(), running.folder / "nodes/batman/batman.py"
    sound = file.read_text()
    file.write_text("def (")
    assert "nodes/batman/batman.py:1: SyntaxError" in running.program("batman.0").fault
    file.write_text("import nothere\n")
    done, seen = running.run("hived", "reload"), running.run("hm", "status")
    file.write_text(sound)
    assert (done.returncode, "nothing was touched" in done.stdout) == (1, True)
    told = "batman.0 goes on with the code of before: nodes/batman/batman.py:1: ModuleNotFoundError"
    assert (seen.returncode, told in seen.stdout) == (1, True), seen.stdout
    assert "batman: nodes/batman/batman.py:1: ModuleNotFoundError: No module named 'nothere'; it goes on" in done.stderr
    assert running.pids() == before
    eventually(lambda: not running.program("batman.0").fault, within=20)  # hived sees that it is mended
