"""What a node costs that has nothing to do: one service that sleeps, one subscription that nobody sends to."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from redis import Redis

from .. import machine
from ..bench import READY, Bench, Readings
from ..peers.bare import connect
from ..processes import Processes, node
from ..servers import RedisServer
from ..task import Task
from ..window import wait_until
from .rate import Case

SETTLED, WATCHED, QUICK = 3.0, 24.0, 6.0
CPU, MEMORY, COMMANDS = "% of a core", "MiB of RSS", "Redis commands/s"


def once(bench: Bench) -> Readings:
    """Start it, let it settle, watch it."""
    with (
        tempfile.TemporaryDirectory(prefix="hm-bench-") as name,
        RedisServer() as server,
        Processes(Path(name)) as processes,
    ):
        with Redis.from_url(server.url) as redis:
            pid = processes.start(node("idle"), Task(server.url, ""))
            wait_until("it is registered", lambda: processes.check() or bool(redis.keys("hm:*:nodes")), READY)
        time.sleep(SETTLED)
        return watch(pid, server.url, QUICK if bench.is_quick else WATCHED)


def watch(pid: int, url: str, seconds: float) -> Readings:
    """CPU, memory, and what the server is told: commands inside a function are not commands of the node."""
    with connect(url) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        monitor.recv(16)  # +OK
        before = machine.cpu_seconds(pid)
        time.sleep(seconds)
        used = machine.cpu_seconds(pid) - before
        seen = monitor.recv(1_000_000, socket.MSG_DONTWAIT)
    return {
        CPU: used / seconds * 100,
        MEMORY: machine.mebibytes(pid),
        COMMANDS: (seen.count(b"\r\n") - seen.count(b" lua] ")) / seconds,
    }


CASES: Mapping[str, Case] = {"an idle node": once}
