"""Redis is away while a node goes on sending: what that costs in memory, and whether every message is accounted for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping

from .. import machine
from ..bench import READY, Bench, Case, Readings, stage
from ..processes import environment, node
from ..task import Task
from ..window import Window, wait_until

AWAY, QUICK = 60.0, 5.0  #: seconds that Redis is away, also in a quick run
STEP = 0.25  #: seconds between two looks at the memory
BOUND = 64 * 1.5  #: MiB: what the outbox may hold, and half as much again for Python's objects and the allocator
BACK = 20.0  #: seconds in which all that waited is handled
REPORTED = 3.0  #: seconds until the registry has the last counts
ENDLESS = 10**9
GROWTH, UNCOUNTED, WAITED = "MiB that the sender grew", "messages uncounted", "messages that waited"


def once(bench: Bench) -> Readings:
    """Send within the window; kill Redis, and send without bounds; start Redis again, and count."""
    with stage() as (server, processes):
        file = processes.folder / "window"
        window = Window.create(file, limit=1_000)
        task = Task(server.url, str(file), payload=1024)
        processes.start(node("handle"), task)
        sender = processes.start(node("flood"), task)
        processes.wait_until("the subscriber has heard a hello", lambda: window.has_begun, READY)
        time.sleep(bench.warmup)
        usual, handled = machine.mebibytes(sender), window.counts()[0]
        server.kill()
        window.limit = ENDLESS
        grown = greatest(sender, QUICK if bench.is_quick else AWAY) - usual
        processes.check()
        waited = window.sent - handled
        window.end()
        server.revive()
        return {GROWTH: grown, WAITED: waited, UNCOUNTED: uncounted(window, task)}


def greatest(pid: int, seconds: float) -> float:
    """The most memory that it has within ``seconds``."""
    most, deadline = 0.0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        most = max(most, machine.mebibytes(pid))
        time.sleep(STEP)
    return most


def uncounted(window: Window, task: Task) -> float:
    """Messages that were sent, and neither handled nor counted as lost by the subscriber's ledger."""
    try:
        wait_until("all is handled", lambda: window.counts()[0] >= window.sent, BACK)
    except TimeoutError:
        time.sleep(REPORTED)
    missing = window.sent - window.counts()[0]
    return float(abs(missing - counted(task)) if missing else 0)


def counted(task: Task) -> int:
    """What the registry says was lost."""
    command = [sys.executable, "-m", "hivemind.cli.hm", "nodes", "--json"]
    said = subprocess.run(command, env=environment(task), capture_output=True, check=True).stdout
    ledgers = [one for instance in json.loads(said) for one in instance["subscriptions"]]
    return sum(int(one["missed"]) + int(one["dropped"]) for one in ledgers)


CASES: Mapping[str, Case] = {"outbox full": Case(once, (GROWTH, WAITED, UNCOUNTED))}
