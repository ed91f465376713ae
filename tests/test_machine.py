"""The machine's power fails, and it boots again: a real systemd runs what `conf/` and `hived export systemd` give."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .hive_kit import Hive, hive_in
from .machine_kit import NO_SYSTEMD, Machine, machine_in, may_boot
from .waiting import eventually

pytestmark = [
    pytest.mark.drill,
    pytest.mark.root_only,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not may_boot(), reason=NO_SYSTEMD),
]

CONF = Path(__file__).resolve().parent.parent / "conf"
PROGRAMS = Path(sys.executable).parent
COUNTER = """
import time
from hivemind import Node, service

class {name}(Node):
    @service("count", every=0.05, keep="10m")
    def count(self, service):
        service.send(time.time())
"""
ENOUGH = 60  #: messages: three seconds of them
MAY_LOSE = 2.5  #: seconds: what `second` may, by docs/delivery.md, and one beat of the test's own


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machine_in(tmp_path / "machine") as made:
        yield made


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path / "gotham") as made:
        made.node("batman", COUNTER)
        made.node("robin")
        yield made


def here(machine: Machine, hive: Hive, *command: str) -> str:
    """What a command says that is run on the machine, in the hive."""
    done = machine.run(str(PROGRAMS / command[0]), *command[1:], folder=hive.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nodes(machine: Machine, hive: Hive) -> dict[str, int]:
    """The pids of batman and robin, as that machine counts, if both run."""
    found = {one["instance"]: one for one in json.loads(here(machine, hive, "hm", "nodes", "--json"))}
    pids = {name: one["pid"] for name, one in found.items() if one["state"] == "running"}
    assert {"batman.0", "robin.0"} <= pids.keys(), found
    return {name: pids[name] for name in ("batman.0", "robin.0")}


def counted(machine: Machine, hive: Hive) -> list[float]:
    """When batman counted what is kept of it, in unix seconds."""
    tail = [str(PROGRAMS / "hm"), "tail", "--json", "--since", "10m", "count"]
    said = machine.run("timeout", "-s", "INT", "4", *tail, folder=hive.folder).stdout
    return [json.loads(line)["payload"] for line in said.splitlines()]


def again(machine: Machine, hive: Hive, before: int) -> dict[str, int]:
    """The pids of both nodes, if another batman runs."""
    found = nodes(machine, hive)
    assert found["batman.0"] != before
    return found


def test_after_a_power_cut_the_hive_is_back_with_what_was_kept(machine: Machine, hive: Hive) -> None:
    text = (CONF / "hived.service").read_text().replace("User=gotham\n", "")
    text = text.replace("/srv/gotham/.venv/bin", str(PROGRAMS)).replace("/srv/gotham", str(hive.folder))
    (machine.units / "hived.service").write_text(text)
    machine.enable("hived.service")
    machine.boot()
    before = eventually(lambda: nodes(machine, hive), within=60)

    first = int(machine.show("hived", "MainPID"))
    machine.run("kill", "-9", str(first))
    eventually(lambda: int(machine.show("hived", "MainPID")) not in (0, first), within=20)
    eventually(lambda: here(machine, hive, "hived", "status"), within=20)
    assert nodes(machine, hive) == before, "nodes live on without hived, and the next one takes them over"

    eventually(lambda: len(counted(machine, hive)) > ENOUGH, within=20)
    cut = time.time()
    machine.lose_power()
    assert hive.processes() == []
    machine.boot()
    eventually(lambda: nodes(machine, hive), within=60)
    sent = [at for at in counted(machine, hive) if at < cut]
    print(f"of what was kept the last {cut - sent[-1]:.2f} s are lost")
    assert cut - sent[-1] < MAY_LOSE

    assert machine.run("systemctl", "stop", "hived").returncode == 0
    assert hive.processes() == [], "stopped in order, Redis last"


def test_systemd_alone_runs_the_units_that_are_exported(machine: Machine, hive: Hive) -> None:
    done = hive.run("hived", "export", "systemd", "--out", str(machine.units))
    assert done.returncode == 0, done.stderr
    machine.enable("hive-gotham.target")
    machine.boot()
    before = eventually(lambda: nodes(machine, hive), within=60)
    batman = "hive-gotham.batman@0"
    eventually(lambda: machine.show(batman, "ActiveState") == "active", within=20)

    for number, stage in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "frozen")):
        began, robin = time.monotonic(), before["robin.0"]
        assert machine.run("kill", f"-{number.value}", str(before["batman.0"])).returncode == 0
        before = eventually(partial(again, machine, hive, before["batman.0"]), within=40)
        print(f"{stage}: another after {time.monotonic() - began:.1f} s")
        assert before["robin.0"] == robin, "nobody else was started again"

    machine.lose_power()
    assert hive.processes() == []
    machine.boot()
    eventually(lambda: nodes(machine, hive), within=60)

    assert machine.run("systemctl", "stop", "hive-gotham.target").returncode == 0
    eventually(lambda: hive.processes() == [], within=30)
    states = {
        machine.show(unit, "Result")
        for unit in (batman, "hive-gotham.robin@0", "hive-gotham.redis", "hive-gotham.root")
    }
    assert states == {"success"}, "each ended by itself when it was asked to"
