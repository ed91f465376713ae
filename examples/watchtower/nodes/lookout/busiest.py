"""Which process was busiest between two looks: pure, but for the function that asks psutil."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psutil

Used = Mapping[int, tuple[str, float]]  #: by process: its name, and the seconds of cores that it has used


def look() -> Used:
    """What all processes have used so far; those of others that may not be asked are left out."""
    found = {}
    for process in psutil.process_iter(["pid", "name", "cpu_times"]):
        name, times = process.info["name"], process.info["cpu_times"]
        if name and times is not None:
            found[process.info["pid"]] = (name, times.user + times.system)
    return found


class Watch:
    """Remembers the look before."""

    def __init__(self, look: Callable[[], Used] = look) -> None:
        self._look = look
        self._before = look()

    def busiest(self) -> tuple[str, float]:
        """Who was busiest since the last time that this was asked."""
        before, self._before = self._before, self._look()
        return busiest(before, self._before)


def busiest(before: Used, now: Used) -> tuple[str, float]:
    """The name of the process that used most, and how many seconds; ("", 0.0) where none did anything."""
    spent = {pid: seconds - before[pid][1] for pid, (name, seconds) in now.items() if before.get(pid, ("",))[0] == name}
    most = max(spent, key=lambda pid: spent[pid], default=None)
    return (now[most][0], spent[most]) if most is not None and spent[most] > 0 else ("", 0.0)
