"""A node that cannot be loaded is put aside, with file and line, and the others run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hivemind.supervisor.engine import Engine
from hivemind.supervisor.status import status

from .hive_kit import QUIET, UP, Hive, kill
from .waiting import eventually

pytestmark = pytest.mark.timeout(90)


BROKEN = {
    "syntax": ("def (", "SyntaxError", 1),
    "missing": ("\nimport no_such_module\n", "no_such_module", 2),
    "boom": ("\n\n1 / 0\n", "ZeroDivisionError", 3),
    "leaving": ("raise SystemExit(3)\n", "SystemExit", 1),
}


def test_broken_nodes_are_quarantined_with_file_and_line_and_the_others_run(gotham: Hive) -> None:
    for name, (code, _, _) in BROKEN.items():
        gotham.node(name, code)
    gotham.node("batman")
    gotham.configure('NODES = {"ghost": {"target": "nodes.batman.batman:Joker"}}')
    gotham.start()
    found = {each.name: each for each in gotham.status().programs}
    assert found["batman.0"].state in UP
    for name, (_, reason, line) in BROKEN.items():
        assert found[name].state == "quarantined"
        assert f"nodes/{name}/{name}.py:{line}:" in found[name].detail
        assert reason in found[name].detail
    assert "Joker" in found["ghost"].detail
    shown = gotham.run("hived", "status")
    assert (shown.returncode, "nodes/boom/boom.py:3" in shown.stdout) == (1, True)


def test_twenty_broken_nodes_hide_no_other(gotham: Hive) -> None:
    for number in range(20):
        gotham.node(f"broken{number}", "def (")
    gotham.node("batman")
    gotham.start()
    states = list(gotham.states().values())
    assert states.count("quarantined") == 20
    assert gotham.states()["batman.0"] in UP


def test_a_broken_node_runs_once_its_file_is_mended(gotham: Hive) -> None:
    file = gotham.node("batman", "def (")
    gotham.start()
    assert gotham.states()["batman"] == "quarantined"
    file.write_text(QUIET.replace("{name}", "Batman"))
    eventually(lambda: gotham.states().get("batman.0") == "running", within=15)


THERMO = """
from hivemind import Node, resource, subscription

class {name}(Node):
    @resource
    def probe(self):
        raise OSError("no probe on the bus")

    @subscription("warm")
    def read(self, payload, probe):
        pass
"""


@pytest.mark.long
def test_why_a_node_does_not_stay_up_is_said_in_its_own_words(gotham: Hive) -> None:
    gotham.node("thermo", THERMO)
    gotham.start()
    reason = "resource 'probe' of thermo cannot be made: OSError: no probe on the bus"
    eventually(lambda: gotham.program("thermo.0").detail.endswith(f"thermo cannot start: {reason}"), within=20)
    assert reason in gotham.run("hm", "restart", "thermo").stdout
    log = gotham.log("thermo")
    assert "in probe" in log
    assert "hivemind/node" not in log.replace("hivemind.node", "")


def test_a_hive_whose_middleware_is_not_there_does_not_start(gotham: Hive) -> None:
    gotham.node("batman")
    gotham.configure('MIDDLEWARE = ["watching:Timing"]')
    done = gotham.run("hived", "start")
    assert (done.returncode, "MIDDLEWARE: 'watching:Timing' cannot be imported" in done.stderr) == (1, True)
    assert gotham.processes() == []


def test_who_dies_while_its_saved_file_does_not_load_comes_back_with_the_last_good_one(gotham: Hive) -> None:
    file = gotham.node("batman")
    gotham.start()
    eventually(lambda: "release 1: all has been well" in gotham.log("hived"), within=40)
    sound, before = file.read_text(), gotham.program("batman.0").pid
    file.write_text(f"import no_such_module\n{sound}")
    kill(gotham.copies("batman")[0])
    eventually(lambda: "no_such_module'. It comes back with release 1 of " in gotham.log("hived"), within=20)
    eventually(lambda: gotham.program("batman.0").state == "running", within=30)
    assert (gotham.program("batman.0").release, gotham.program("batman.0").pid != before) == ("release 1", True)
    said = gotham.run("hm", "status").stdout
    assert ("batman.0 goes on with the code of before: " in said, "no_such_module" in said) == (True, True)
    file.write_text(sound)
    eventually(lambda: gotham.run("hm", "status").returncode == 0, within=20)


READS = """
from pathlib import Path

from hivemind import Node, subscription

DATA = (Path(__file__).parent / "data.json").read_text()

class {name}(Node):
    @subscription("nothing")
    def nothing(self, payload):
        pass
"""


def proven(gotham: Hive) -> tuple[Path, Path]:
    """A node that reads a file as it is imported, and is in a release; its file, and that which it reads."""
    file, data = gotham.node("batman", READS), gotham.write("nodes/batman/data.json", "{}")
    gotham.start()
    eventually(lambda: "release 1: all has been well" in gotham.log("hived"), within=40)
    return file, data


@pytest.mark.long
def test_nobody_is_sent_back_to_a_release_that_does_not_load_either(gotham: Hive) -> None:
    file, data = proven(gotham)
    file.write_text(f"{file.read_text()}# a comment\n")
    aside = data.rename(data.with_name("aside.json"))
    kill(gotham.copies("batman")[0])
    eventually(lambda: "Nor does it in release 1 of " in gotham.log("hived"), within=20)
    assert "It comes back with" not in gotham.log("hived")
    aside.rename(data)
    eventually(lambda: gotham.program("batman.0").state == "running", within=40)
    assert (gotham.program("batman.0").release, gotham.run("hm", "status").returncode) == ("", 0)


@pytest.mark.long
def test_who_was_sent_back_and_ends_early_again_has_its_files_as_soon_as_they_load(gotham: Hive) -> None:
    file, data = proven(gotham)
    file.write_text(file.read_text().replace("data.json", "more.json"))
    kill(gotham.copies("batman")[0])
    eventually(lambda: gotham.program("batman.0").release == "release 1", within=20)
    eventually(lambda: gotham.program("batman.0").state == "running", within=30)
    data.rename(data.with_name("more.json"))
    kill(gotham.copies("batman")[0])
    eventually(lambda: "the files load now: back to them" in gotham.log("hived"), within=30)
    eventually(lambda: gotham.program("batman.0").state == "running", within=30)
    eventually(lambda: gotham.run("hm", "status").returncode == 0, within=20)
    assert gotham.program("batman.0").release == ""


def test_who_dies_of_a_file_before_any_release_is_failing_and_nobody_says_that_it_goes_on(gotham: Hive) -> None:
    file = gotham.node("batman")
    gotham.start()
    file.write_text(f"{file.read_text()}def broken(:\n")
    kill(gotham.copies("batman")[0])
    eventually(lambda: gotham.program("batman.0").next_try is not None, within=30)
    status, why, rolled = (
        gotham.run("hm", *words).stdout for words in (("status",), ("why", "batman"), ("roll", "batman"))
    )
    assert ("batman.0 is failing: " in status, "SyntaxError" in status) == (True, True)
    assert "batman cannot be loaded: nodes/batman/batman.py:" in why
    assert "batman.0: nodes/batman/batman.py:" in rolled
    assert not any(
        words in said for words in ("goes on", "begins next", "quarantined") for said in (status, why, rolled)
    )


def test_of_who_still_loads_nobody_says_that_it_goes_on_whatever_is_saved(gotham: Hive) -> None:
    code = 'import os, time\nwhile os.path.exists("slow"):\n    open("loads", "w").close()\n    time.sleep(0.01)\n'
    file = gotham.node("batman", f"{code}{QUIET}")
    gotham.start()
    slow = gotham.write("slow", "")
    kill(gotham.copies("batman")[0])
    eventually((gotham.folder / "loads").exists, within=20)
    file.write_text("def broken(:\n")
    eventually(lambda: gotham.program("batman.0").state in UP and gotham.program("batman.0").pid, within=10)
    assert gotham.program("batman.0").fault == ""
    slow.unlink()
    eventually(lambda: "SyntaxError" in gotham.program("batman.0").fault, within=20)
    assert gotham.program("batman.0").state in UP


@pytest.mark.long
def test_who_is_quarantined_is_told_so_also_by_roll_and_a_rollback_is_named(gotham: Hive) -> None:
    file = gotham.node("batman")
    gotham.start()
    eventually(lambda: "release 1: all has been well" in gotham.log("hived"), within=40)
    assert gotham.run("hived", "stop").returncode == 0
    file.write_text("def broken(:\n")
    gotham.start()
    out = "`hived rollback` goes back to the files of release 1"
    rolled = gotham.run("hm", "roll", "batman")
    assert rolled.returncode == 1
    assert "batman: nodes/batman/batman.py:1: SyntaxError: " in rolled.stderr
    assert ("it is quarantined" in rolled.stderr, out in rolled.stderr) == (True, True)
    for command in (("hm", "status"), ("hm", "why", "batman"), ("hived", "status")):
        done = gotham.run(*command)
        assert out in done.stdout + done.stderr


SPEAKER = """
import os
from hivemind import Node, service

class {name}(Node):
    @service("word", every=0.2)
    def speak(self, service):
        service.send(os.environ["WORD"])
"""


@pytest.mark.parametrize(
    "mistake",
    [
        "HIVE_NAME = (",
        pytest.param('MIDDLEWARE = ["watching:Timing"]', marks=pytest.mark.long),
        pytest.param(None, marks=pytest.mark.long),
    ],
)
def test_who_is_killed_while_the_settings_are_broken_comes_back_with_those_that_were_applied(
    gotham: Hive, mistake: str | None
) -> None:
    gotham.node("batman", SPEAKER)
    gotham.configure('NODES = {"batman": {"env": {"WORD": "justice"}}}')
    gotham.start()
    engine = gotham.engine
    eventually(lambda: {each.state for each in status(engine).programs} == {"running"}, within=20)
    before = {each.name: each.pid for each in status(engine).programs}
    try:
        _spoil_and_kill(gotham, mistake)
        _comes_back(gotham, engine, before)
    finally:
        gotham.configure('NODES = {"batman": {"env": {"WORD": "mended"}}}')
    if mistake == "HIVE_NAME = (":
        assert "batman.0: rolled" in gotham.run("hived", "reload").stdout


def _spoil_and_kill(gotham: Hive, mistake: str | None) -> None:
    if mistake is None:
        (gotham.folder / "config/hive.py").unlink()
    else:
        gotham.configure(mistake)
    for each in (gotham.listener(), *gotham.copies("batman"), *gotham.processes("hivemind.root")):
        if "keeper" not in " ".join(each.cmdline()):
            kill(each)


def _comes_back(gotham: Hive, engine: Engine, before: dict[str, int | None]) -> None:
    def is_back() -> bool:
        now = {each.name: each for each in status(engine).programs}
        return all(now[name].state == "running" and now[name].pid != before[name] for name in ("batman.0", "root"))

    eventually(is_back, within=20)
    eventually(lambda: "the settings are at fault, and those that were applied last hold" in gotham.log("batman"))
    if (gotham.folder / "config/hive.py").exists():
        for command in (("status",), ("why", "batman")):
            said = gotham.run("hm", *command).stdout
            assert "settings are at fault" in said
    if "MIDDLEWARE" not in gotham.log("batman"):
        eventually(lambda: gotham.log("hived").count("those that were applied last hold: ") == 1, within=20)
