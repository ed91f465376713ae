"""What nodes cost that have nothing to do, each with a service that sleeps and a subscription nobody sends to."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence

from redis import Redis

from .. import machine
from ..bench import READY, Bench, Case, Readings, stage
from ..peers.bare import connect
from ..processes import node
from ..task import Task

SETTLED = 3.0  #: seconds until they have nothing to do
WATCHED, QUICK = 24.0, 6.0  #: seconds that they are watched, also in a quick run
CPU, MEMORY, COMMANDS = "% of a core", "MiB of RSS", "Redis commands/s"

ONE, APART, TOGETHER = "one node", "five nodes", "five nodes in one process"
NAMES = "abcde"


def commands(who: str) -> list[list[str]]:
    """What runs the nodes, a process each or all in one."""
    program = node("idle")
    if who == TOGETHER:
        return [[*program[:-1], *(f"{name}={program[-1]}" for name in NAMES), "--name", "small"]]
    return [program] * (1 if who == ONE else len(NAMES))


def case(who: str) -> Case:
    """Starts them, lets them settle, watches them."""

    def once(bench: Bench) -> Readings:
        with stage() as (server, processes):
            pids = [processes.start(command, Task(server.url, "")) for command in commands(who)]
            with Redis.from_url(server.url, decode_responses=True) as redis:
                processes.wait_until("all are registered", lambda: registered(redis) == len(pids), READY)
            time.sleep(SETTLED)
            return watch(who, pids, server.url, QUICK if bench.is_quick else WATCHED)

    return Case(once, tuple(label(who, what) for what in (CPU, MEMORY, COMMANDS)))


def registered(redis: Redis) -> int:
    """How many instances there are."""
    return sum(redis.scard(key) for key in redis.keys("hm:*:nodes"))


def label(who: str, what: str) -> str:
    """The reading of a cost."""
    return f"{who}: {what}"


def watch(who: str, pids: Sequence[int], url: str, seconds: float) -> Readings:
    """CPU, memory, and what the server is told: commands inside a function are not commands of the node."""
    with connect(url) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        skip_line(monitor)  # +OK
        before = sum(map(machine.cpu_seconds, pids))
        time.sleep(seconds)
        used = sum(map(machine.cpu_seconds, pids)) - before
        seen = monitor.recv(1_000_000, socket.MSG_DONTWAIT)
    return {
        label(who, CPU): used / seconds * 100,
        label(who, MEMORY): sum(map(machine.mebibytes, pids)),
        label(who, COMMANDS): (seen.count(b"\r\n") - seen.count(b" lua] ")) / seconds,
    }


def skip_line(connection: socket.socket) -> None:
    """Read one line, and nothing of what follows it."""
    said = b""
    while not said.endswith(b"\r\n"):
        said += connection.recv(1)


CASES: Mapping[str, Case] = {who: case(who) for who in (ONE, APART, TOGETHER)}
