"""Who a process is: its pid, and enough besides that a recycled pid is not mistaken for it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from .process_table import booted, started
from .whole import private_folder, put

if sys.platform == "darwin":
    import subprocess


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process on one machine since one boot.

    ``started`` tells two processes with the same pid apart and is good for nothing else: on Linux it is seconds
    since boot, because a wall-clock start time moves when somebody sets the clock. ``boot`` changes with every
    boot and differs between containers that do not see each other's pids.
    """

    pid: int
    started: float
    boot: str
    host: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        """The identity of this very process. Raises RuntimeError where it cannot see itself, as without /proc."""
        identity = cls.of(os.getpid())
        if identity is None:
            raise RuntimeError("this process cannot see itself in the process table: is /proc mounted?")
        return identity

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The process that has ``pid`` now; None if there is none, it is a zombie, or it is hidden from us."""
        at = started(pid)
        return None if at is None else cls(pid, at, _boot(), socket.gethostname())

    def is_local(self) -> bool:
        """Whether it belongs to this machine, since this boot: only then can is_alive know."""
        return self.host == socket.gethostname() and self.boot == _boot()

    def is_alive(self) -> bool:
        """Whether this process still runs here. A zombie does not; one of another host or boot never does."""
        return self.is_local() and started(self.pid) == self.started

    def has_ended(self) -> bool:
        """Whether it surely runs no more: it did on this machine, since this boot. Of others nobody here can know."""
        return self.is_local() and not self.is_alive()

    def to_json(self) -> dict[str, Any]:
        """As a dict of JSON values; from_json reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> ProcessIdentity:
        """Read what to_json wrote; raise ValueError if it is anything else. Keys it does not know are ignored."""
        try:
            found = cls(int(value["pid"]), float(value["started"]), str(value["boot"]), str(value["host"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the identity of a process: {value!r}") from error
        if not 0 < found.pid < 2**31:  # to a signal others mean whole groups, or everybody
            raise ValueError(f"not the pid of a process: {found.pid}")
        return found


@dataclass(frozen=True, slots=True)
class PidRecord:
    """What a pid file says: a process, and the hash of the program it was started from ("" if nobody gave one)."""

    identity: ProcessIdentity
    digest: str = ""


@dataclass(frozen=True, slots=True)
class PidFile:
    """A file that names one process. It may be stale: ``living`` does not believe it."""

    path: Path

    def read(self) -> PidRecord | None:
        """What the file says; None if it is missing or is not one of ours (then it says nothing)."""
        try:
            value = orjson.loads(self.path.read_bytes())
            return PidRecord(ProcessIdentity.from_json(value), str(value.get("digest", "")))
        except (OSError, ValueError):
            return None

    def living(self) -> ProcessIdentity | None:
        """The process that it names, if that still runs here."""
        record = self.read()
        return record.identity if record is not None and record.identity.is_alive() else None

    def write(self, identity: ProcessIdentity, digest: str = "") -> None:
        """Put ``identity`` there at once and whole: a reader sees the old record or the new one. Raises OSError.

        Where the disk is full it is written over the old one.
        """
        private_folder(self.path.parent)
        put(self.path, orjson.dumps({**identity.to_json(), "digest": digest}) + b"\n")

    def remove(self) -> None:
        """Delete the file; it need not be there."""
        self.path.unlink(missing_ok=True)


def this_host(environ: Mapping[str, str] = os.environ) -> str:
    """What this host is called in a hive: ``HIVEMIND_HOST``, else as the machine is."""
    return environ.get("HIVEMIND_HOST") or socket.gethostname()


def this_boot() -> str:
    """What changes with every boot of this machine, and is another in a container that does not see our pids."""
    return _boot()


@lru_cache(maxsize=1)
def _boot() -> str:
    if sys.platform == "linux":
        return f"{_read('/proc/sys/kernel/random/boot_id')}/{_pid_namespace()}"
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5).stdout.strip()
        return found or str(booted())
    return str(booted())


def _read(path: str) -> str:
    try:
        return Path(path).read_text("ascii").strip()
    except OSError:
        return str(booted())


def _pid_namespace() -> str:
    try:
        return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return ""
