"""Many registered instances with simulated beats: listing them from a node, and watching them as the root does."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from .. import machine
from ..bench import READY, Bench, Case, Lost, Readings, stage
from ..processes import Processes, node, peer
from ..task import Task
from ..window import Window

SIZES = (1, 100, 1_000)
LOOKS = 20  #: listings that are timed
SETTLED = 3.0  #: seconds until the root has started
WATCHED = 6.0  #: seconds that it is watched, which is three of its looks
ROOT = [sys.executable, "-m", "hivemind.root"]


def case(instances: int) -> Case:
    """Measures both."""

    def once(bench: Bench) -> Readings:
        with stage() as (server, beats):
            file = beats.folder / "window"
            window = Window.create(file, readers=2)
            task = Task(server.url, str(file), slot=1, count=instances)
            beats.start(peer("beats", "beat"), task)
            beats.wait_until("all are registered", lambda: window.handled[1] > 0, READY)
            return listed(beats.folder / "listing", window, task) | watched(beats.folder / "root", task)

    return Case(once, (listing(instances), root(instances)))


def listing(instances: int) -> str:
    """The reading of how long a listing takes."""
    return f"listing {instances:,}, ms"


def root(instances: int) -> str:
    """The reading of what the root spends."""
    return f"root, {instances:,}: µs a second an instance"


def listed(folder: Path, window: Window, task: Task) -> Readings:
    """How long a listing takes, in milliseconds."""
    with Processes(folder) as processes:
        processes.start(node("listing"), task)
        processes.wait_until("listings", lambda: window.sampled > LOOKS, READY)
        if window.handled[0] != task.count + 1:  # all of them, and itself
            raise Lost(f"a listing saw {window.handled[0]:,} of {task.count + 1:,} instances")
        return {listing(task.count): median(window.samples(1)) / 1e6}


def watched(folder: Path, task: Task) -> Readings:
    """What the root spends on an instance each second, in microseconds of CPU."""
    with Processes(folder) as processes:
        pid = processes.start(ROOT, task)
        time.sleep(SETTLED)
        processes.check()
        before = machine.cpu_seconds(pid)
        time.sleep(WATCHED)
        used = machine.cpu_seconds(pid) - before
        return {root(task.count): used / WATCHED / task.count * 1e6}


CASES: Mapping[str, Case] = {f"{instances:,} instances": case(instances) for instances in SIZES}
