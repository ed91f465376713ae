"""Many registered instances with simulated beats: listing them from a node, and watching them as the root does."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from .. import machine
from ..bench import READY, Bench, Readings
from ..processes import Processes, node, peer
from ..servers import RedisServer
from ..task import Task
from ..window import Window, wait_until
from .rate import Case

SIZES = (1, 100, 1_000)
LOOKS = 20  #: listings that are timed
SETTLED = 3.0  #: seconds until the root has started
WATCHED = 6.0  #: seconds that it is watched, which is three of its looks
ROOT = [sys.executable, "-m", "hivemind.root"]


def case(instances: int) -> Case:
    """Measures both."""

    def once(bench: Bench) -> Readings:
        with tempfile.TemporaryDirectory(prefix="hm-bench-") as name, RedisServer() as server:
            folder = Path(name)
            window = Window.create(folder / "window", readers=2)
            task = Task(server.url, str(folder / "window"), slot=1, count=instances)
            with Processes(folder) as beats:
                beats.start(peer("beats", "beat"), task)
                wait_until("all are registered", lambda: beats.check() or window.handled[1] > 0, READY)
                return listed(folder, window, task) | watched(folder, task)

    return once


def listed(folder: Path, window: Window, task: Task) -> Readings:
    """How long a listing takes, in milliseconds."""
    with Processes(folder) as processes:
        processes.start(node("listing"), task)
        wait_until("listings", lambda: processes.check() or window.sampled > LOOKS, READY)
        assert window.handled[0] == task.count + 1, "it sees all of them, and itself"
        return {f"listing {task.count:,}, ms": median(window.samples(1)) / 1e6}


def watched(folder: Path, task: Task) -> Readings:
    """What the root spends on an instance each second, in microseconds of CPU."""
    with Processes(folder) as processes:
        pid = processes.start(ROOT, task)
        time.sleep(SETTLED)
        processes.check()
        before = machine.cpu_seconds(pid)
        time.sleep(WATCHED)
        used = machine.cpu_seconds(pid) - before
        return {f"root, {task.count:,}: µs a second an instance": used / WATCHED / task.count * 1e6}


CASES: Mapping[str, Case] = {f"{instances:,} instances": case(instances) for instances in SIZES}
