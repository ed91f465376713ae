"""Who changes what runs keeps others out, and who waits is told for whom."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hivemind.supervisor.holding import PATIENCE, holding, this_command
from hivemind.supervisor.servant import FILES

from .hive_kit import QUIET, Hive
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)


def test_a_suspended_reload_is_named_by_whoever_comes_next_with_what_to_do(running: Hive) -> None:
    file, lock = running.folder / "nodes/batman/batman.py", running.engine.paths.lock
    file.write_text(file.read_text() + "    cape = 'new'\n")
    first = subprocess.Popen(running.command("hived", "reload"), cwd=running.folder, env=running.environ)
    try:
        eventually(lambda: f'"pid":{first.pid},' in lock.read_text(), within=20)
        os.kill(first.pid, signal.SIGSTOP)
        for program, *words in (("hived", "reload"), ("hm", "restart", "robin")):
            done = running.run(program, *words, timeout=20)
            said = done.stdout + done.stderr
            assert done.returncode == 1
            assert f"it is the turn of `hived reload` (process {first.pid}), which has changed what runs here" in said
            assert f"it is stopped: `fg` where it was typed, or `kill -CONT {first.pid}`, lets it go on" in said
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert first.wait(60) == 0
    assert running.run("hived", "reload").returncode == 0


HOLDER = """
import sys, time
from pathlib import Path
from hivemind.supervisor.holding import holding
with holding(Path(sys.argv[1])):
    time.sleep(100)
"""


@pytest.mark.long
def test_a_file_that_is_mended_while_who_changes_what_runs_is_stopped_is_tried_afterwards(running: Hive) -> None:
    joker, lock = running.node("joker", "this is no Python"), running.engine.paths.lock
    assert running.run("hived", "reload").returncode == 1
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)]) as holder:
        try:
            eventually(lambda: f'"pid":{holder.pid},' in lock.read_text(), within=20)
            os.kill(holder.pid, signal.SIGSTOP)
            joker.write_text(QUIET.replace("{name}", "Joker"))
            began = time.monotonic()
            eventually(lambda: time.monotonic() > began + 2 * FILES + PATIENCE, within=30)
            assert running.states()["joker"] == "quarantined"
        finally:
            holder.kill()
    eventually(lambda: running.states().get("joker.0") == "running", within=20)


def test_whoever_is_waited_for_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entered = threading.Event()

    def wait() -> None:
        with holding(tmp_path / "lock", told_after=0.05):
            entered.set()

    with caplog.at_level(logging.WARNING, "hived"):
        with holding(tmp_path / "lock"):
            thread = threading.Thread(target=wait)
            thread.start()
            eventually(lambda: f"(process {os.getpid()})" in caplog.text)
            assert not entered.wait(0.3)
        thread.join(5)
    assert (entered.is_set(), caplog.text.count("waiting for")) == (True, 1)


def test_no_password_is_written_into_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/hm", "redis", "move", "redis://bat:s3cret@there:6379", "--yes"])
    assert this_command() == "hm redis move redis://bat:***@there:6379 --yes"
