"""From counters that only grow to rates: pure, but for the functions that ask psutil."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

Clock = Callable[[], float]
IDLE = ("idle", "iowait")
TWICE = ("guest", "guest_nice")  # Linux counts them in user and nice, too


class Meter:
    """How fast a counter grows, in units a second, since it was last asked; None the first time."""

    def __init__(self, counter: Callable[[], float], clock: Clock = time.monotonic) -> None:
        self._counter, self._clock = counter, clock
        self._last: tuple[float, float] | None = None

    def rate(self) -> float | None:
        """Ask the counter now. One that was reset gives None once."""
        last, self._last = self._last, (self._clock(), self._counter())
        now, count = self._last
        if last is None or count < last[1] or now <= last[0]:
            return None
        return (count - last[1]) / (now - last[0])


def busy_seconds(times: Mapping[str, float]) -> float:
    """Seconds for which cores were busy, of psutil's ``cpu_times()``: all cores together."""
    return sum(seconds for name, seconds in times.items() if name not in (*IDLE, *TWICE))


def machine_seconds() -> float:
    """Seconds for which the cores of this machine were busy."""
    return busy_seconds(psutil.cpu_times()._asdict())


class Tree:
    """One process and its descendants: how many seconds of cores they have used, those that have ended included."""

    def __init__(self, look: Callable[[], Mapping[tuple[int, float], float]]) -> None:
        self._look = look
        self._last: Mapping[tuple[int, float], float] | None = None
        self._sum = 0.0

    def seconds(self) -> float:
        """The sum so far; it only grows."""
        now = self._look()
        if self._last is not None:
            self._sum += spent(self._last, now)
        self._last = now
        return self._sum


def spent(before: Mapping[tuple[int, float], float], now: Mapping[tuple[int, float], float]) -> float:
    """Seconds used between two looks at processes, by (pid, start time); a new one has used all of its in between."""
    return sum(max(0.0, seconds - before.get(process, 0.0)) for process, seconds in now.items())


def processes_below(pid: int) -> dict[tuple[int, float], float]:
    """Seconds used by each process of the tree below ``pid``, which is one of them; empty when it is gone."""
    found: dict[tuple[int, float], float] = {}
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):  # it ended while we looked
                used = process.cpu_times()
                found[process.pid, process.create_time()] = used.user + used.system
    return found


def core_seconds(tree: int | None) -> Callable[[], float]:
    """The counter of busy cores: of the whole machine, or of one process and its descendants."""
    return machine_seconds if tree is None else Tree(lambda: processes_below(tree)).seconds
