"""Who hangs while nobody watches is found by the next hived; who only takes its time is left alone."""

from __future__ import annotations

import re
import signal
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from hivemind.bus.embedded import Embedded
from hivemind.bus.server_program import ask
from hivemind.cli.reading import read_instances

from .hive_kit import Hive, hive_in, kill, well
from .test_hang import BLOCKED, DEFAULTS, FOUND, IDLE
from .test_standing_still import other_hived, passes
from .waiting import eventually

pytestmark = pytest.mark.timeout(150)

BACK = 11.0  #: seconds, as the table of promises has it
PATIENT = f"""
import os, time

while "HIVEMIND_SUPERVISED" in os.environ and os.path.exists("wait"):
    time.sleep(0.05)
{IDLE}
"""


def all_running(hive: Hive, *names: str) -> None:
    eventually(lambda: well(hive), within=30)
    for name in names:
        eventually(lambda name=name: "running:" in hive.log(name), within=20)  # type: ignore[misc]


def without_hived(hive: Hive, *lost: str) -> int:
    """Let nobody watch until those leases are over; the pid of the hived that stands still by then."""
    listener = hive.listener()
    kill(listener, signal.SIGSTOP)
    for name in lost:
        kill(hive.copies(name)[0], signal.SIGSTOP)
    return listener.pid


def is_lost(hive: Hive, *names: str) -> bool:
    found = {one.node: one.is_lost for one in read_instances(hive.engine.settings)}
    return all(found.get(name, True) for name in names)


def next_hived(hive: Hive, before: int) -> float:
    """Kill that hived; when there is another, in unix seconds."""
    (listener,) = [each for each in hive.processes("supervisor.daemon") if each.pid == before]
    kill(listener)
    eventually(lambda: other_hived(hive, before), within=20)
    return time.time()


@pytest.mark.alone
def test_who_hung_before_hived_began_is_found_within_eight_seconds_and_replaced(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham", more=DEFAULTS) as hive:
        for name, code in (("blocked", BLOCKED), ("frozen", IDLE), ("well", IDLE)):
            hive.node(name, code)
        hive.start()
        all_running(hive, "blocked", "frozen", "well")
        before = hive.pids()
        assert hive.run("hm", "pub", "--durable", "orders", '"a bottle"').returncode == 0
        eventually((hive.folder / "hung-blocked").exists, within=10)
        old = without_hived(hive, "frozen")
        eventually(lambda: is_lost(hive, "blocked", "frozen"), within=12)
        began = next_hived(hive, old)
        for name, limit in (("frozen", FOUND), ("blocked", BACK)):
            said = rf"(\S+) ERROR .* {name}\.0 \(process .* hangs"
            line = eventually(lambda said=said: re.search(said, hive.log("hived")), within=20)  # type: ignore[misc]
            assert line is not None
            found = datetime.fromisoformat(line[1]).timestamp() - began
            eventually(lambda name=name: not is_lost(hive, name), within=20)  # type: ignore[misc]
            back = time.time() - began
            print(f"{name} was found after {found:.1f} s, and back after {back:.1f} s")
            assert found < FOUND
            assert back < limit
        eventually(lambda: well(hive), within=20)
        after = hive.pids()
        assert {name for name in before if after[name] != before[name]} == {"blocked.0", "frozen.0"}


@pytest.mark.drill
def test_who_is_stopped_is_found_though_redis_has_forgotten_it_and_who_has_yet_to_register_is_left_alone(
    tmp_path: Path,
) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        for name, code in (("patient", PATIENT), ("frozen", IDLE), ("well", IDLE)):
            hive.node(name, code)
        hive.start()
        all_running(hive, "patient", "frozen", "well")
        before = hive.pids()
        (hive.folder / "wait").touch()
        kill(hive.copies("patient")[0])
        eventually(lambda: hive.program("patient.0").pid not in (None, before["patient.0"]), within=10)
        before = hive.pids()
        old = without_hived(hive, "frozen")
        assert ask(Embedded.of(hive.engine.settings).socket, "FLUSHALL", timeout=1.0) == "+OK"
        next_hived(hive, old)
        eventually(lambda: hive.program("frozen.0").pid not in (None, before["frozen.0"]), within=15)
        passes(5.0)
        assert hive.pids()["patient.0"] == before["patient.0"], "it has no lease, and needs its time"
        (hive.folder / "wait").unlink()
        eventually(lambda: well(hive), within=20)
        eventually(lambda: not is_lost(hive, "patient"), within=10)
        after = hive.pids()
        assert {name for name in before if after[name] != before[name]} == {"frozen.0"}
        assert "patient.0 (process" not in hive.log("hived")


@pytest.mark.drill
def test_whom_a_new_hived_finds_without_a_redis_is_left_alone(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        hive.node("batman", IDLE)
        hive.node("robin", IDLE)
        hive.start()
        all_running(hive, "batman", "robin")
        before = hive.pids()
        redis = psutil.Process(before["redis"])
        kill(redis, signal.SIGSTOP)
        next_hived(hive, without_hived(hive))
        passes(6.0)
        kill(redis, signal.SIGCONT)
        eventually(lambda: well(hive), within=20)
        passes(3.0)
        assert hive.pids() == before
        assert "hangs" not in hive.log("hived")
