"""supervisord starts our programs as copies of itself, which have everything loaded already."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hivemind.supervisor.supervisord import (
    KEEPER,
    NOTHING,
    PYTHON,
    Gate,
    Loaded,
    is_ours,
    is_path_absolute,
    load,
    path_files,
    stamps,
    was_written_since,
)

from .hive_kit import Hive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies of a process go on on Linux only")

COMMAND = [*PYTHON, KEEPER, "--pidfile", "x"]


def test_a_program_is_a_copy_of_supervisord_and_is_shown_as_what_it_is(running: Hive) -> None:
    batman = psutil.Process(running.program("batman.0").pid)
    assert batman.ppid() == running.supervisord().pid
    assert "SUPERVISOR_PROCESS_NAME" not in batman.environ()  # the system has what its process began with
    shown = [part for part in batman.cmdline() if part]
    assert shown == [sys.executable, "-m", "hivemind.node", "nodes.batman.batman", "--name", "batman", "--number", "0"]
    supervisord = [part for part in psutil.Process(running.supervisord().pid).cmdline() if part]
    assert supervisord[-2:] == ["-c", str(running.engine.paths.conf)]


def test_what_was_written_anew_since_is_loaded_anew(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("x = 1")
    loaded = Loaded((str(module),), stamps([str(module), *path_files()]))
    assert loaded.is_current()
    module.write_text("x = 12")
    assert not loaded.is_current()
    assert not NOTHING.is_current()


def test_where_it_is_looked_for_modules_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    loaded = Loaded.now()
    assert loaded.is_current()
    (folder / "mine.pth").write_text("/srv/mine")
    assert not loaded.is_current()


def test_another_program_begins_anew() -> None:
    assert not is_ours(["redis-server", "--port", "0"])
    assert is_ours(COMMAND)


def test_a_path_that_means_another_folder_elsewhere_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_path_absolute({"PYTHONPATH": "/srv/lib:/srv/more:"})
    monkeypatch.setenv("PYTHONPATH", "lib")
    assert load() is NOTHING


def test_what_was_written_while_it_was_loaded_is_not_trusted(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("x = 1")
    written = module.stat().st_ctime_ns
    assert was_written_since([str(module)], written)
    assert not was_written_since([str(module), str(tmp_path / "none")], written + 1)


WAITING = """
import os, signal, sys, time
from hivemind.supervisor import supervisord

options = supervisord.Options()
signal.signal(signal.SIGTERM, lambda *_: print("heard as supervisord hears it", flush=True))
for number in range(1100):
    os.dup(0)
pid = options.fork()
if pid == 0:
    options._is_current = True
    supervisord.go_on = lambda *_: os._exit(0)
    options.execve("python", [*supervisord.PYTHON, supervisord.KEEPER], {})
os.kill(pid, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
pid = options.fork()
if pid == 0:
    supervisord.close_all()
    os.write(1, f"{len(os.listdir('/proc/self/fd'))}\\n".encode())
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_a_copy_is_ended_by_a_signal_from_its_first_moment_on_and_has_nothing_open() -> None:
    done = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["-15", "4"], done.stderr  # the fourth is the folder that is listed


def test_copies_wait_until_supervisord_has_begun_all_of_them_but_not_for_ever() -> None:
    gate = Gate()
    turn = gate.turn
    assert not gate.wait(turn, limit=0.01)
    gate.open()
    assert gate.wait(turn)
    assert not gate.wait(gate.turn, limit=0.01)


FAREWELL = """
import atexit, signal, sys, threading
from hivemind.supervisor import keeper
from hivemind.supervisor.supervisord import KEEPER, PYTHON, go_on

signal.signal(signal.SIGTERM, print)

def main(arguments):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    atexit.register(lambda: sys.stdout.write("farewell, "))
    threading.Thread(target=lambda: sys.stdout.write("thread, ")).start()
    raise {error}

keeper.main = main
try:
    go_on([*PYTHON, KEEPER], {{"A": "1"}})
finally:
    sys.stdout.write("supervisord's")
"""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        ("SystemExit(3)", 3, ""),
        ("SystemExit('no')", 1, "no"),
        ("OSError('no')", 1, "OSError: no"),
        ("SystemExit", 0, ""),
    ],
)
def test_a_copy_ends_as_a_process_of_its_own_ends(error: str, code: int, says: str) -> None:
    command = [sys.executable, "-c", FAREWELL.format(error=error)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (code, "thread, farewell, ")
    assert done.stderr.strip().endswith(says)
