"""The lock of who changes what runs in a hive. Its holder writes itself into the file, so that who waits can say for
whom.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from ..constants import redact
from ..errors import SupervisorError
from ..identity import ProcessIdentity
from ..process_table import HELD, STOPPED, doing

if sys.platform != "win32":  # `engine_for` says so there, but `hm` imports this file
    import fcntl

log = logging.getLogger("hived")

PATIENCE = 2.0  # seconds after which it is said for whom one waits, and for which one that is stopped is waited for
AGAIN = 30.0  # seconds until it is said again
LOOK = 0.05  # seconds between two tries


@dataclass(frozen=True, slots=True)
class Holder:
    """Which process has the lock, by which command, and since when in unix seconds."""

    identity: ProcessIdentity
    command: str
    since: float

    @property
    def text(self) -> str:
        """For people."""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"`{self.command}` (process {self.identity.pid}), which has changed what runs here since {at}"

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still because of a signal (Ctrl-Z), or a debugger."""
        now = doing(self.identity.pid)
        return now is not None and now.state in (STOPPED, HELD)


@contextmanager
def holding(path: Path, patience: float = PATIENCE, told_after: float = PATIENCE) -> Iterator[None]:
    """Hold the lock ``path`` as soon as nobody else does. After ``told_after`` seconds it is said who is waited for.

    Raises SupervisorError, which says what to do, where its holder has been stopped for ``patience`` seconds; OSError.
    """
    with path.open("a+b") as file:
        _take(file, patience, told_after)
        _sign(file)
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(file.fileno(), 0)


def held_by(path: Path) -> Holder | None:
    """Who holds the lock ``path``; None if nobody does, or that is not known."""
    try:
        with path.open("rb") as file:
            return _holder(file)
    except OSError:
        return None


def _take(file: IO[bytes], patience: float, told_after: float) -> None:
    seen_moving = time.monotonic()
    due = seen_moving + told_after
    while not _is_ours(file):
        now, holder = time.monotonic(), _holder(file)
        if holder is None or not holder.is_stopped:
            seen_moving = now
        elif now > seen_moving + patience:
            raise SupervisorError(f"it is the turn of {holder.text}, and it is stopped: {_remedy(holder)}")
        if now > due and holder is not None:
            due = now + AGAIN
            log.warning("waiting for %s", holder.text)
        time.sleep(LOOK)


def _remedy(holder: Holder) -> str:
    pid = holder.identity.pid
    return (
        f"`fg` where it was typed, or `kill -CONT {pid}`, lets it go on; `kill -KILL {pid}` ends it, then say "
        "`hived reload`"
    )


def _is_ours(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: IO[bytes]) -> Holder | None:
    """Who has written itself there; None if that is nobody who lives."""
    try:
        file.seek(0)
        found = orjson.loads(file.read())
        holder = Holder(ProcessIdentity.from_json(found["process"]), str(found["command"]), float(found["since"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return holder if holder.identity.is_alive() else None


def _sign(file: IO[bytes]) -> None:
    """Say who we are; on a full disk nobody knows."""
    mine = {"process": ProcessIdentity.current().to_json(), "command": this_command(), "since": time.time()}
    with suppress(OSError):
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), orjson.dumps(mine))


def this_command() -> str:
    """What this process was asked to do, as one types it, without the password of a URL."""
    name, *words = Path(sys.argv[0]).stem, *sys.argv[1:]
    return "hived" if name == "daemon" else redact(" ".join((name, *words)))
