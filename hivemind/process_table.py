"""What the system says of processes.

On Linux it is read from ``/proc``: importing psutil takes a tenth of the time in which a node starts, and a third of
what its keeper needs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

STOPPED, HELD, DISK = "stopped by a signal", "held by a debugger", "waiting for a disk"  # states of a process
WAITING, COMPUTING = "waiting", "computing"
_DIGITS = 2  # decimals of a start time: the kernel counts hundredths of a second


class Doing(NamedTuple):
    """What a process does: its ``state`` at this moment, and the seconds of processors that it has ``used``."""

    state: str
    used: float


if sys.platform == "linux":
    _TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    _STATES = {b"T": STOPPED, b"t": HELD, b"D": DISK, b"R": COMPUTING}
    _DEAD = b"ZXx"

    def _stat(process: Path) -> list[bytes]:
        """What is in the ``stat`` of a process or a thread from its state on: field n of proc(5) is at n - 3, since a
        name before it may hold spaces and brackets. Raises OSError.
        """
        return (process / "stat").read_bytes().rpartition(b") ")[2].split()

    def doing(pid: int) -> Doing | None:
        """What ``pid`` does; None if there is none that lives, or it is hidden from us."""
        try:
            fields = _stat(Path(f"/proc/{pid}"))
            state, used = fields[0], (int(fields[11]) + int(fields[12])) / _TICKS
            return None if state in _DEAD else Doing(_STATES.get(state, WAITING), used)
        except (OSError, ValueError, IndexError):
            return None

    def waits_of(pid: int) -> int | None:
        """How often its main thread has begun to wait for something; None if there is none, or it is hidden from us."""
        try:
            lines = Path(f"/proc/{pid}/status").read_bytes().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in lines if line.startswith(b"voluntary_ctxt_switches:")), None)

    def waits_for_disk(pid: int) -> bool:
        """Whether any of its threads does, or it is hidden from us."""
        try:
            return any(_stat(thread)[0] == b"D" for thread in Path(f"/proc/{pid}/task").glob("*"))
        except (OSError, IndexError):
            return True

    def started(pid: int) -> float | None:
        """When ``pid`` began, in seconds since boot, which no setting of a clock moves; None if there is none that
        lives, or it is hidden from us.
        """
        try:
            fields = _stat(Path(f"/proc/{pid}"))
            return None if fields[0] in _DEAD else round(int(fields[19]) / _TICKS, _DIGITS)
        except (OSError, ValueError, IndexError):
            return None

    def age(pid: int) -> float | None:
        """For how many seconds ``pid`` has lived; None if there is none that lives, or it is hidden from us."""
        began = started(pid)
        return None if began is None else max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)

    def pids() -> list[int]:
        """Every process that we can see."""
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names are all we want

    def environment_of(pid: int) -> dict[str, str] | None:
        """The environment that ``pid`` was started with; None if there is none, or it is another user's."""
        try:
            entries = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
        except OSError:
            return None
        return {name: value for name, sign, value in (entry.partition("=") for entry in entries) if sign}

    def command_of(pid: int) -> list[str]:
        """The words of its command line; none if there is no such process, or it is hidden from us."""
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        except OSError:
            return []

    def folder_of(pid: int) -> Path | None:
        """The folder that it is in, or that was removed under it; None if there is no such process, or it is hidden."""
        try:
            return Path(os.readlink(f"/proc/{pid}/cwd").removesuffix(" (deleted)"))  # noqa: PTH115 - it need not exist
        except OSError:
            return None

    def parent_of(pid: int) -> int | None:
        """The pid of its parent; None if there is no such process, or it is hidden from us."""
        try:
            return int(_stat(Path(f"/proc/{pid}"))[1])
        except (OSError, ValueError, IndexError):
            return None

    def show_command(command: Sequence[str]) -> None:
        """Let `ps` and others show ``command`` for this process; where that cannot be, they go on with what it was
        started with. What is longer than that is cut off.
        """
        with suppress(OSError, ValueError, IndexError):
            fields = _stat(Path("/proc/self"))
            begin, end = int(fields[45]), int(fields[46])
            shown = b"".join(os.fsencode(part) + b"\0" for part in command)[: end - begin - 1]
            with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
                memory.seek(begin)
                memory.write(shown.ljust(end - begin, b"\0"))

    def memory() -> int:
        """Bytes of the machine's memory that this process has; 0 where nobody says."""
        try:
            return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
        except (OSError, ValueError, IndexError):
            return 0

    def booted() -> int:
        """When this machine was started, in unix seconds by its clock as it is now."""
        with Path("/proc/stat").open("rb") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(b"btime "))

else:
    import psutil

    _STATES = {
        psutil.STATUS_STOPPED: STOPPED,
        psutil.STATUS_TRACING_STOP: HELD,
        psutil.STATUS_DISK_SLEEP: DISK,
        psutil.STATUS_RUNNING: COMPUTING,
    }

    def doing(pid: int) -> Doing | None:
        """What ``pid`` does; None if there is none that lives, or it is hidden from us."""
        try:
            process = psutil.Process(pid)
            state, times = process.status(), process.cpu_times()
        except (psutil.Error, ValueError, OverflowError):
            return None
        gone = state in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return None if gone else Doing(_STATES.get(state, WAITING), times.user + times.system)

    def waits_of(_pid: int) -> int | None:
        """How often its main thread has begun to wait for something: here nobody says."""
        return None

    def waits_for_disk(_pid: int) -> bool:
        """Whether any of its threads may: here nobody can know, so each may."""
        return True

    def started(pid: int) -> float | None:
        """When ``pid`` began, in seconds that are good for telling two processes apart; None if there is none that
        lives, or it is hidden from us.
        """
        try:
            process = psutil.Process(pid)
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return None
            return round(process.create_time(), _DIGITS)
        except (psutil.Error, ValueError, OverflowError):
            return None

    def age(pid: int) -> float | None:
        """For how many seconds ``pid`` has lived; None if there is none that lives, or it is hidden from us."""
        began = started(pid)
        return None if began is None else max(0.0, time.time() - began)

    def pids() -> list[int]:
        """Every process that we can see."""
        return psutil.pids()

    def environment_of(pid: int) -> dict[str, str] | None:
        """The environment that ``pid`` was started with; None if there is none, or it is another user's."""
        try:
            return dict(psutil.Process(pid).environ())
        except psutil.Error:
            return None

    def command_of(pid: int) -> list[str]:
        """The words of its command line; none if there is no such process, or it is hidden from us."""
        try:
            return psutil.Process(pid).cmdline()
        except psutil.Error:
            return []

    def folder_of(pid: int) -> Path | None:
        """The folder that it is in, or that was removed under it; None if there is no such process, or it is hidden."""
        try:
            return Path(psutil.Process(pid).cwd())
        except (psutil.Error, OSError):
            return None

    def parent_of(pid: int) -> int | None:
        """The pid of its parent; None if there is no such process, or it is hidden from us."""
        try:
            return psutil.Process(pid).ppid()
        except psutil.Error:
            return None

    def show_command(_command: Sequence[str]) -> None:
        """Nothing: what `ps` shows of a process cannot be changed here."""

    def memory() -> int:
        """Bytes of the machine's memory that this process has; 0 where nobody says."""
        try:
            return psutil.Process().memory_info().rss
        except psutil.Error:
            return 0

    def booted() -> int:
        """When this machine was started, in unix seconds by its clock as it is now."""
        return int(psutil.boot_time())
