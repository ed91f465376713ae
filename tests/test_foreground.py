"""A hive in the foreground: one merged log, one process that ends it all."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from hivemind.bus.embedded import Embedded
from hivemind.supervisor.last_words import last_words
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.plan import Plan
from hivemind.supervisor.reload import Everything, concerned, owners
from hivemind.supervisor.topology import Problem, Program

from .hive_kit import SENDER, Hive, hive_in, kill
from .waiting import eventually

PRINTS = """
from hivemind import Node, subscription

class Batman(Node):
    @subscription("signal")
    def save(self, payload):
        print("Batman has saved the day!")
"""


LOADS_ONLY_WHERE_IT_IS_CHECKED = """
import os
if "HIVEMIND_SUPERVISED" in os.environ:
    import nothere
from hivemind import Node

class Joker(Node):
    pass
"""


OLD = "2026-01-02T03:04:05.678+01:00 INFO     batman.0  "


class Terminal:
    """`hived start --foreground` or `hm dev`, and what it showed so far."""

    def __init__(self, hive: Hive, program: str, *arguments: str, shell: bool = False) -> None:
        self.file = hive.folder / "terminal.txt"
        self.file.touch()
        command = hive.command(program, *arguments)
        with self.file.open("wb") as out:
            self.process = subprocess.Popen(
                ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command] if shell else command,
                cwd=hive.folder,
                env=hive.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.file.read_text()

    def shows(self, text: str, within: float = 20.0) -> None:
        def is_shown() -> bool:
            assert text in self.text(), self.text()
            return True

        eventually(is_shown, within)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path / "gotham") as made:
        made.node("signal", SENDER)
        made.node("batman", PRINTS)
        yield made


def test_the_merged_log_shows_what_nodes_print_and_sigterm_stops_everything(hive: Hive) -> None:
    terminal = Terminal(hive, "hived", "start", "--foreground")
    terminal.shows("batman.0 | Batman has saved the day!")
    terminal.shows("the page is at http://127.0.0.1:")
    assert "hive gotham on unix://" in terminal.text()
    assert terminal.end(signal.SIGTERM) == 0
    assert hive.processes() == []


def test_why_a_node_cannot_be_loaded_is_said_once_and_status_knows_it(hive: Hive) -> None:
    hive.node("joker", LOADS_ONLY_WHERE_IT_IS_CHECKED)
    terminal = Terminal(hive, "hived", "start", "--foreground")
    terminal.shows("No module named 'nothere'")
    terminal.shows("Batman has saved the day!")
    said = [line for line in terminal.text().splitlines() if "No module named 'nothere'" in line]
    assert all("| ERROR " in line for line in said), said
    own, printed = hive.engine.settings.log_file("joker"), hive.engine.paths.program_log("joker.0")
    assert "No module named 'nothere'" in last_words(printed, own)
    assert terminal.end() == 0


def test_ctrl_c_stops_everything_even_where_a_shell_had_it_ignored(hive: Hive) -> None:
    terminal = Terminal(hive, "hived", "start", "--foreground", shell=True)
    terminal.shows("Batman has saved the day!")
    assert terminal.end(signal.SIGINT) == 0
    assert hive.processes() == []


def test_when_the_files_are_removed_it_says_so_once_goes_on_and_stops_all_when_asked(hive: Hive) -> None:
    terminal = Terminal(hive, "hived", "start", "--foreground")
    terminal.shows("Batman has saved the day!")
    supervisord, redis = hive.supervisord(), Embedded.of(hive.engine.settings).pidfile.living()
    shutil.rmtree(hive.folder / "var")
    terminal.shows("was removed under it: processes ")
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 2.0)
    assert terminal.process.poll() is None
    assert supervisord.is_alive()
    assert terminal.text().count("was removed under it") == 1
    assert "supervisord is gone" not in terminal.text()
    assert terminal.end(signal.SIGINT) == 0
    assert hive.processes() == []
    assert redis is not None
    assert not redis.is_alive()


def test_a_killed_supervisord_is_replaced_and_no_node_restarts(hive: Hive) -> None:
    terminal = Terminal(hive, "hived", "start", "--foreground")
    terminal.shows("Batman has saved the day!")
    before, old = hive.pids(), hive.supervisord()
    kill(old)
    eventually(lambda: hive.engine.supervisord() not in (None, old), within=15)
    eventually(lambda: hive.program("batman.0").adopted, within=15)
    assert hive.pids() == before
    # for an instant a child that has yet to become its program looks like another one
    eventually(lambda: len(hive.processes("supervisor.supervisord")) == 1)
    assert terminal.end() == 0
    assert hive.processes() == []


def test_a_killed_foreground_leaves_a_hive_that_the_next_one_takes_over(hive: Hive) -> None:
    first = Terminal(hive, "hived", "start", "--foreground")
    first.shows("Batman has saved the day!")
    before = hive.pids()
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = Terminal(hive, "hived", "start", "--foreground")
    second.shows("Batman has saved the day!")
    assert hive.pids() == before
    assert second.end() == 0
    assert hive.processes() == []


def test_hived_stop_ends_the_foreground_too(hive: Hive) -> None:
    terminal = Terminal(hive, "hived", "start", "--foreground")
    terminal.shows("Batman has saved the day!")
    assert hive.run("hived", "stop").returncode == 0
    assert terminal.process.wait(10) == 0


def test_hm_dev_restarts_the_node_whose_file_changes_and_no_other(hive: Hive) -> None:
    terminal = Terminal(hive, "hm", "dev", "--no-root")
    terminal.shows("Batman has saved the day!")
    before = hive.pids()
    file = hive.folder / "nodes/batman/batman.py"
    file.write_text(PRINTS.replace("Batman has", "Robin has"))
    terminal.shows("batman.0 | Robin has saved the day!")
    assert hive.program("signal.0").pid == before["signal.0"]
    file.write_text("def (")
    terminal.shows("batman goes on as it was")
    assert terminal.end() == 0


def test_hm_dev_replays_no_old_log_of_a_node_that_is_enabled_again(hive: Hive) -> None:
    hive.write("nodes/__init__.py", "from .signal import signal\n")
    (hive.folder / "log").mkdir()
    (hive.folder / "log/batman.log").write_text(f"{OLD}Batman was here once\n")
    first = Terminal(hive, "hm", "dev", "--no-root")
    first.shows("signal.0 |")
    hive.write("nodes/__init__.py", "from .signal import signal\nfrom .batman import batman\n")
    first.shows("Batman has saved the day!")
    assert "here once" not in first.text()
    assert first.end() == 0


def test_hm_dev_restarts_nobody_when_a_broken_or_stopped_node_is_edited(tmp_path: Path) -> None:
    broken, stopped = tmp_path / "nodes/batman/batman.py", tmp_path / "nodes/robin/robin.py"
    robin = Program("robin.0", "node", "robin", (), 10, members={"robin": str(stopped)})
    plan = Plan((), (robin,), (Problem("batman", "broken"),))
    paths = HivePaths(tmp_path, tmp_path, tmp_path)
    paths.enabled.write_text(orjson.dumps([{"name": "batman", "module": "", "file": str(broken)}]).decode())
    nodes = owners(paths, plan)
    assert concerned(tmp_path, nodes, broken) == {"batman"}
    assert concerned(tmp_path, nodes, stopped) == {"robin"}
    assert concerned(tmp_path, nodes, tmp_path / "nodes/shared.py") == {Everything.NODES}


def test_hm_dev_starts_a_mended_node_and_leaves_the_others(hive: Hive) -> None:
    file = hive.write("nodes/batman/batman.py", "import nothere\n")
    terminal = Terminal(hive, "hm", "dev", "--no-root")
    terminal.shows("signal.0 |")
    file.write_text(PRINTS)
    terminal.shows("Batman has saved the day!")
    assert "restarting" not in terminal.text()
    assert terminal.end() == 0


def test_hm_dev_names_nodes_that_exist_but_are_not_enabled(hive: Hive) -> None:
    hive.node("robin", enable=False)
    terminal = Terminal(hive, "hm", "dev", "-n", "batman", "-n", "signal", "--no-root", "-v")
    terminal.shows("Batman has saved the day!")
    assert "robin exists but is not enabled: uncomment `from .robin import robin`" in terminal.text()
    assert terminal.end() == 0


def test_hm_dev_verbose_shows_in_the_logs_and_not_in_the_terminal(hive: Hive) -> None:
    terminal = Terminal(hive, "hm", "dev", "--no-root", "-v")
    terminal.shows("Batman has saved the day!")
    eventually(lambda: "DEBUG    asyncio  Using selector" in hive.log("hived"))
    assert "Using selector" not in terminal.text()
    assert terminal.end() == 0


def test_hm_dev_keeps_its_hands_off_production(hive: Hive) -> None:
    hive.configure("PRODUCTION = True")
    done = hive.run("hm", "dev")
    assert (done.returncode, "config/hive.py:8" in done.stderr, "--join" in done.stderr) == (1, True, True)
