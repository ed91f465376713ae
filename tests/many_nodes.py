"""Many real nodes in one hive: ``python -m tests.many_nodes --nodes 200``, which is `make nodes`.

Each is a file and a process of its own. It prints how long they need to start and what it cost, what `hived status`
takes, and what hived and supervisord use of a core while nothing happens.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from hivemind.states import NodeState
from hivemind.supervisor.status import registered

from .hive_kit import Hive, hive_in
from .waiting import eventually

AS_USUAL = "HEARTBEAT = 2.0\nLEASE = 6.0"
CALM = 12.0  # seconds after which hived has seen that all is well, and has nothing more to prove
MOST = 300.0  # seconds for all to be there


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured, in seconds; of a core where it is a share."""

    nodes: int
    started: float  # until all are registered and consume
    cost: float  # CPU of all processes until then
    status: float  # `hived status`
    supervisord: float  # its share of a core when nothing happens
    hived: float  # the same


def measure(hive: Hive, nodes: int, seconds: float) -> Figures:
    """Start so many nodes, and watch them doing nothing for so long."""
    for number in range(nodes):
        hive.node(f"robin{number}")
    began = time.monotonic()
    done = hive.run("hived", "start", timeout=MOST)
    assert done.returncode == 0, done.stderr
    eventually(lambda: _running(hive) == nodes + 1, within=MOST)
    started, cost = time.monotonic() - began, _spent(hive)
    passed(CALM)
    before, since = _idle(hive), time.monotonic()
    passed(seconds)
    supervisord, hived = [
        (now - then) / (time.monotonic() - since) for now, then in zip(_idle(hive), before, strict=True)
    ]
    asked = time.monotonic()
    assert hive.run("hived", "status").returncode == 0
    return Figures(nodes, started, cost, time.monotonic() - asked, supervisord, hived)


def passed(seconds: float) -> None:
    """Let time pass."""
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > seconds, within=seconds + 5)


def _running(hive: Hive) -> int:
    found = asyncio.run(registered(hive.engine)) or ()
    return sum(one.state == NodeState.RUNNING for one in found)


def _spent(hive: Hive) -> float:
    return sum(_cpu(process) for process in hive.processes())


def _idle(hive: Hive) -> list[float]:
    return [_cpu(psutil.Process(hive.supervisord().pid)), _cpu(hive.listener())]


def _cpu(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        used = process.cpu_times()
        return float(used.user + used.system)
    return 0.0


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.many_nodes", description=__doc__)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0, help="for how long nothing happens")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hm-") as folder, hive_in(Path(folder), more=AS_USUAL) as hive:
        for name, value in asdict(measure(hive, chosen.nodes, chosen.seconds)).items():
            print(f"{name:12} {value:,.3f}" if isinstance(value, float) else f"{name:12} {value:,}")


if __name__ == "__main__":
    main()
