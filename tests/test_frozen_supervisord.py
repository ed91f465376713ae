"""supervisord that stands still: nodes do not print into its hands, so none of them waits for it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from .hive_kit import hive_in, kill, well
from .waiting import eventually

pytestmark = [pytest.mark.drill, pytest.mark.timeout(150)]

PRINTING = """
import asyncio, os, pathlib, time
from hivemind import Node, service

class {name}(Node):
    @service("{topic}")
    def speak(self, service):
        print("x" * 50_000, flush=True)
        os.write(1, b"y" * 50_000 + b"\\n")
        service.sleep_for(0.1)

    @service("{topic}-clock")
    async def clock(self, service):
        before = time.monotonic()
        await asyncio.sleep(0.01)
        stall = time.monotonic() - before
        if stall > getattr(self, "worst", 0.0):
            self.worst = stall
            pathlib.Path("stall").write_text(str(stall))
        if pathlib.Path("anew").exists():
            pathlib.Path("anew").unlink()
            self.worst = 0.0
"""
FROZEN = 30.0  #: seconds
STALL = 0.25  #: seconds for which the loop may stand still


@pytest.mark.alone
def test_a_frozen_supervisord_stalls_no_node_that_prints_a_megabyte_a_second(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        hive.node("batman", PRINTING)
        hive.start()
        eventually(lambda: well(hive), within=30)
        pid, uptime = hive.program("batman.0").pid, hive.program("batman.0").uptime or 0.0
        eventually(lambda: (hive.program("batman.0").uptime or 0.0) > uptime + 5.0, within=20)
        usual = float((hive.folder / "stall").read_text())
        listener = hive.listener()
        for one in (listener, hive.supervisord()):  # hived, which would replace it after a while, as well
            kill(one, signal.SIGSTOP)
        (hive.folder / "stall").unlink()
        (hive.folder / "anew").touch()
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > FROZEN, within=FROZEN + 5)
        stall = float((hive.folder / "stall").read_text())
        for one in (hive.supervisord(), listener):
            kill(one, signal.SIGCONT)
        print(f"stalls of {usual:.3f} s before, of {stall:.3f} s meanwhile")
        assert stall < max(STALL, 2 * usual)
        eventually(lambda: well(hive), within=20)
        assert hive.program("batman.0").pid == pid
