"""A reload takes up changed code, one instance at a time; and what supervisord cannot take, is taken back."""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hivemind.errors import SupervisorError
from hivemind.supervisor import writing
from hivemind.supervisor.check import CHECK_TIMEOUT
from hivemind.supervisor.lifecycle import reload
from hivemind.supervisor.narrow import with_code_of
from hivemind.supervisor.plan import Plan
from hivemind.supervisor.render import render
from hivemind.supervisor.rolling import with_new_code
from hivemind.supervisor.topology import Program

from .hive_kit import Hive, hive_in, kill
from .servers import RedisServer
from .waiting import eventually

pytestmark = pytest.mark.timeout(300)

TWO = 'NODES = {"batman": {"replicas": 2}}'
BROKEN = "    def on_start(self):\n        raise RuntimeError('no cape')\n"


def program(name: str, code: str, digest: str = "as-set") -> Program:
    return Program(name, "node", name.partition(".")[0], ("true",), 10, digest, code=code)


def test_whose_code_is_known_and_has_changed_is_rolled() -> None:
    before = Plan((program("batman.0", "old"), program("robin.0", "same"), program("joker.0", "")))
    after = Plan(tuple(program(name, "same") for name in ("batman.0", "robin.0", "joker.0", "alfred.0")))
    assert [each.name for each in with_new_code(before, after)] == ["batman.0"]


def test_who_outlived_a_supervisord_keeps_the_code_that_it_runs_but_not_its_settings() -> None:
    before = Plan((program("batman.0", "old"), program("robin.0", "old")))
    after = Plan((program("batman.0", "new", "set-anew"), program("robin.0", "new")))
    (batman, robin) = with_code_of(before, after, ["batman.0"]).programs
    assert (batman.version, robin.version) == ("set-anew.old", "as-set.new")


def _is_anew(hive: Hive, name: str, before: int | None) -> bool:
    found = hive.program(name)
    return found.state == "running" and found.pid not in (None, before)


def test_changed_code_is_taken_up_by_one_copy_after_the_other_and_only_where_it_comes_up(running: Hive) -> None:
    running.configure(TWO)
    running.run("hived", "reload")
    file, before = running.folder / "nodes/batman/batman.py", running.pids()
    sound = file.read_text()
    file.write_text(sound + BROKEN)
    bad = running.run("hm", "roll", "@all")
    first, *others = bad.stdout.splitlines()
    assert (bad.returncode, first.startswith("batman.0: rolled: successor ready in ")) == (1, True)
    assert "but it does not stay up: " in first
    assert "no cape" in first
    assert "It went back to the code of release " in first
    held = "not touched, because batman.0 is not well with the new version"
    assert others == [f"batman.1: {held}", f"robin.0:  {held}"]
    assert {name for name, pid in running.pids().items() if pid != before[name]} == {"batman.0"}
    os.kill(before["batman.1"] or 0, signal.SIGKILL)  # its next life has the code that that of batman.0 has
    eventually(lambda: all(_is_anew(running, name, before[name]) for name in ("batman.0", "batman.1")), within=20)
    goes_on = "batman.0, batman.1 go on with the code of before"
    assert f"{goes_on}: " in running.run("hm", "status").stdout
    why = running.run("hm", "why", "batman").stdout
    assert ("runs well" in why, "no cape" in why.partition(goes_on)[2]) == (False, True)
    assert running.run("hived", "status").stdout.count("its file is not well, mend it and `hived reload`") == 2
    file.write_text(sound)
    assert "nothing was touched" in running.run("hived", "reload").stdout
    assert "goes on" not in running.run("hived", "status").stdout
    file.write_text(sound + "    cape = 'new'\n")
    assert "there are changes for batman.0 and batman.1" in running.run("hm", "restart", "robin").stderr
    said = running.run("hived", "reload").stdout.splitlines()
    assert [line.partition(" in ")[0] for line in said] == [
        "batman.0: rolled: successor ready",
        "batman.1: rolled: successor ready",
    ]
    assert all(line.endswith("; 0 missed, 0 dropped") for line in said)


def test_what_does_not_get_ready_leaves_the_old_process_as_it_is_and_stopping_first_is_for_who_asks(
    running: Hive,
) -> None:
    file, before = running.folder / "nodes/robin/robin.py", running.pids()
    file.write_text(
        file.read_text() + "\nimport sys\nif '--successor' in sys.argv:\n    raise RuntimeError('no cape')\n"
    )
    refused = running.run("hm", "roll", "robin")
    assert (refused.returncode, "robin.0: not touched: its successor ended with 1" in refused.stdout) == (1, True)
    assert ("no cape" in refused.stdout, running.pids()) == (True, before)
    assert not list(running.engine.paths.run.glob("*.next"))
    one = running.run("hm", "roll", "robin", "--max-unavailable", "1")
    assert (one.returncode, one.stdout.startswith("robin.0: restarted, took over in ")) == (0, True)
    assert running.pids()["robin.0"] != before["robin.0"]


def test_what_supervisord_cannot_take_is_taken_back(running: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    before, conf = running.pids(), running.engine.paths.conf.read_bytes()
    running.configure('NODES = {"batman": {"env": {"MASK": "green"}}}')
    with monkeypatch.context() as patched:
        patched.setattr(writing, "render", lambda *what: render(*what) + "[program:x]\nstartsecs=soon\n")
        with pytest.raises(SupervisorError, match=r"'soon'.* Nothing of it was applied: the hive is as it was"):
            reload(running.engine)
    assert (running.pids(), running.engine.paths.conf.read_bytes()) == (before, conf)
    assert "batman.0: rolled" in running.run("hived", "reload").stdout


MASKED = """
import os
from hivemind import Node

class {name}(Node):
    def on_start(self):
        if os.environ["MASK"] == "torn":
            raise RuntimeError("no mask")
"""


@pytest.mark.long
def test_changed_settings_are_taken_up_by_one_copy_after_the_other_and_only_while_they_come_up(running: Hive) -> None:
    running.configure('NODES = {"joker": {"replicas": 2, "env": {"MASK": "white"}}}')
    running.node("joker", MASKED)
    running.run("hived", "reload")
    before = running.pids()
    running.configure('NODES = {"joker": {"replicas": 2, "env": {"MASK": "torn"}}}')
    torn = running.run("hived", "reload")
    first, other = torn.stdout.splitlines()
    assert (torn.returncode, first.startswith("joker.0: rolled: successor ready in ")) == (1, True)
    assert "no mask" in first
    assert other == "joker.1: not touched, because joker.0 is not well with the new version"
    eventually(lambda: running.program("joker.0").failures > 1, within=20)
    assert running.run("hived", "reload").stdout.splitlines() == [other]
    assert {name for name, pid in running.pids().items() if pid != before[name]} == {"joker.0"}
    running.configure('NODES = {"joker": {"replicas": 2, "env": {"MASK": "white"}}}')
    assert running.run("hived", "reload").returncode == 0
    assert running.pids()["joker.1"] == before["joker.1"]


@pytest.mark.parametrize("verb", ["roll", pytest.param("restart", marks=pytest.mark.long)])
def test_a_file_that_does_not_load_is_refused_and_said_and_the_next_life_has_the_last_good_one(
    running: Hive, verb: str
) -> None:
    file, before = running.folder / "nodes/batman/batman.py", running.pids()
    sound = file.read_text()
    eventually(lambda: running.run("hm", "status").returncode == 0, within=20)
    file.write_text(f"import no_such_module\n{sound}")
    refused = running.run("hm", verb, "batman")
    assert (refused.returncode, "it goes on as it was" in refused.stdout) == (1, True)
    assert running.pids() == before
    status, why = (running.run("hm", *words).stdout for words in (("status",), ("why", "batman")))
    assert "batman.0 goes on with the code of before: " in status
    assert ("no_such_module" in status, "no_such_module" in why) == (True, True)
    os.kill(before["batman.0"] or 0, signal.SIGKILL)
    eventually(lambda: _is_anew(running, "batman.0", before["batman.0"]), within=20)
    assert "release" in running.program("batman.0").release
    file.write_text(sound)
    eventually(lambda: running.program("batman.0").fault == "", within=20)
    eventually(lambda: running.run("hm", "status").returncode == 0, within=20)


def test_so_it_is_where_nodes_have_no_environment_of_their_own(own_server: RedisServer, tmp_path: Path) -> None:
    with hive_in(tmp_path, more=f"REDIS_URL = {own_server.url!r}") as hive:
        file = hive.node("batman")
        hive.start()
        eventually(lambda: hive.run("hm", "status").returncode == 0, within=20)
        sound, before, conf = file.read_text(), hive.pids()["batman.0"], hive.engine.paths.conf.read_bytes()
        file.write_text(f"import no_such_module\n{sound}")
        assert hive.run("hm", "roll", "batman").returncode == 1
        assert hive.engine.paths.conf.read_bytes() == conf
        os.kill(before or 0, signal.SIGKILL)
        eventually(lambda: _is_anew(hive, "batman.0", before), within=20)
        assert "release" in hive.program("batman.0").release
        file.write_text(sound)
        eventually(lambda: hive.run("hm", "status").returncode == 0, within=20)
        assert not hive.engine.paths.program_env("batman.0").exists()


@pytest.mark.long
def test_a_change_of_what_a_node_needs_is_taken_up_by_one_copy_after_the_other(running: Hive) -> None:
    running.configure(TWO)
    running.run("hived", "reload")
    running.configure('NODES = {"batman": {"replicas": 2, "needs": ["robin"]}}')
    said = running.run("hived", "reload").stdout.splitlines()
    assert [line.partition(" in ")[0] for line in said] == [
        "batman.0: rolled: successor ready",
        "batman.1: rolled: successor ready",
    ]


def test_who_began_while_its_file_was_another_takes_up_the_mended_one(running: Hive) -> None:
    file, before = running.folder / "nodes/batman/batman.py", running.pids()
    sound = file.read_text()
    file.write_text(sound + "    cape = 'torn'\n")
    os.kill(before["batman.0"] or 0, signal.SIGKILL)
    eventually(lambda: running.program("batman.0").pid not in (None, before["batman.0"]), within=20)
    eventually(lambda: running.run("hm", "status").returncode == 0, within=20)
    file.write_text(sound)
    mended = running.run("hived", "reload")
    assert mended.stdout.startswith("batman.0: rolled: successor ready in "), mended.stdout
    assert {name for name, pid in running.pids().items() if pid != before[name]} == {"batman.0"}
    assert "nothing was touched" in running.run("hived", "reload").stdout


def started(hive: Hive) -> None:
    for name in ("batman", "robin"):
        hive.node(name)
    hive.start()
    eventually(lambda: hive.run("hm", "status").returncode == 0, within=30)


@pytest.mark.long
def test_a_roll_that_is_cut_off_is_said_with_what_was_undone_and_how_to_go_on(gotham: Hive) -> None:
    started(gotham)
    before, run = gotham.pids(), gotham.engine.paths.run
    with subprocess.Popen(
        gotham.command("hm", "roll", "@all"), cwd=gotham.folder, env=gotham.environ, stdout=subprocess.DEVNULL
    ) as rolling:
        eventually(lambda: any(run.glob("batman.0.next.pid")), within=60)
        kill(gotham.listener())
        rolling.kill()
    cut_off = (
        "`hm roll` was cut off, because its process was killed: batman.0, robin.0 go on as they were: `hived reload`"
    )
    eventually(lambda: cut_off in gotham.log("hived"), within=30)
    assert gotham.pids() == before
    for command in (("hm", "status"), ("hived", "status")):
        done = gotham.run(*command)
        assert cut_off in done.stdout + done.stderr
    assert gotham.run("hm", "roll", "robin").returncode == 0
    assert "cut off" not in gotham.run("hm", "status").stdout


@pytest.mark.long
def test_each_reload_rollback_and_roll_is_a_line_in_hiveds_log_with_who_asked(gotham: Hive) -> None:
    started(gotham)
    file = gotham.folder / "nodes/batman/batman.py"
    file.write_text(file.read_text() + "    cape = 'blue'\n")
    gotham.run("hived", "reload")
    gotham.run("hived", "rollback")
    gotham.run("hm", "roll", "robin")
    by = rf"{getpass.getuser()} \(process \d+\)"
    lines = (
        rf"INFO +hived +hived reload by {by}: batman\.0: rolled: successor ready in ",
        rf"INFO +hived +hived rollback by {by}, to the files of release \d+ of .*: .*nodes/batman/batman\.py",
        rf"INFO +hived +asked by {by} to roll robin\.0",
        rf"INFO +hived +roll by {by}: robin\.0: rolled: successor ready in ",
    )
    eventually(lambda: all(re.search(line, gotham.log("hived")) for line in lines), within=10)


def test_a_version_is_settings_and_code() -> None:
    one = program("batman.0", "code")
    assert len({one.version, replace(one, code="other").version, replace(one, digest="other").version}) == 3
    assert replace(one, code="").version == one.digest


@pytest.mark.drill
def test_a_file_whose_import_does_not_end_is_refused_after_the_check_and_has_no_successor(running: Hive) -> None:
    before, file = running.pids(), running.folder / "nodes/batman/batman.py"
    sound = file.read_text()
    file.write_text(f"import time\ntime.sleep(600)\n{sound}")
    began = time.monotonic()
    done = running.run("hm", "roll", "batman", timeout=120)
    took = time.monotonic() - began
    print(f"refused after {took:.1f} s")
    assert (done.returncode, took < 2 * CHECK_TIMEOUT) == (1, True)
    assert "batman.0: nodes/batman/batman.py: importing it had not ended after 20 s; if it needs" in done.stdout
    assert done.stdout.endswith("; it goes on as it was\n")
    assert running.pids() == before
    file.write_text(sound)
    assert running.run("hm", "roll", "batman", timeout=120).returncode == 0
