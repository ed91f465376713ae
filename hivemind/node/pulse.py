"""Signs of life for an engine other than hived: a file that ``python -m hivemind.probe`` reads, and systemd's watchdog.

They are given from the event loop, so that they end when it stands still; whether Redis is there makes no difference.
"""

from __future__ import annotations

import asyncio
import faulthandler
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from ..cancelling import end
from ..probe import VARIABLE, Sign
from ..states import NodeState
from ..whole import put
from .life import Life

PERIOD = 1.0  #: seconds from one sign to the next, at the most
SYSTEMD = "NOTIFY_SOCKET"  #: environment variable by which systemd says where it listens
MICROSECONDS = 1_000_000


class Outlet(Protocol):
    """Who is told."""

    def say(self, sign: Sign) -> None:
        """Tell it. Never raises: that a sign is lost is no reason to end."""

    def close(self) -> None:
        """No more signs will come, and that is as it should be."""


class ProbeFile:
    """Writes signs into a file. Who has not written for the limit of the last sign is ended, with its stacks on
    standard error: not every engine that is told that a process stands still does something about it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def say(self, sign: Sign) -> None:
        """Write it down, and watch that another follows."""
        with suppress(OSError):
            put(self._path, str(sign).encode())
        faulthandler.dump_traceback_later(sign.limit, exit=True, file=2)

    def close(self) -> None:
        """Take the last sign back, and watch no more."""
        faulthandler.cancel_dump_traceback_later()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


class Systemd:
    """Tells the systemd that started us: a service is up when it consumes, and dead when it is not heard of any more.

    While it starts it has all the time it wants as long as its loop turns.
    """

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def say(self, sign: Sign) -> None:
        """Tell systemd; what cannot be told is not."""
        said = ["WATCHDOG=1", f"STATUS={sign.state}"]
        if sign.is_consuming:
            said.append("READY=1")
        elif sign.state == NodeState.STOPPING:
            said.append("STOPPING=1")
        elif sign.state != NodeState.RUNNING:
            said.append(f"EXTEND_TIMEOUT_USEC={int(sign.limit * MICROSECONDS)}")
        self._tell(*said)

    def close(self) -> None:
        """Tell that we end, and no more."""
        self._tell("STOPPING=1")
        self._socket.close()

    def _tell(self, *said: str) -> None:
        with suppress(OSError):
            self._socket.sendto("\n".join(said).encode(), self._address)


def outlets(environ: Mapping[str, str]) -> list[Outlet]:
    """Who wants to be told, by what the environment says."""
    found: list[Outlet] = []
    if environ.get(VARIABLE):
        found.append(ProbeFile(Path(environ[VARIABLE])))
    if environ.get(SYSTEMD, "").startswith(("/", "@")):
        found.append(Systemd(environ[SYSTEMD]))
    return found


@asynccontextmanager
async def pulse(life: Life, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Give signs of ``life`` in here, if ``environ`` names somebody who wants them."""
    told = outlets(environ)
    beating = asyncio.create_task(_beat(life, told), name="pulse") if told else None
    try:
        yield
    finally:
        await end(beating)
        for each in told:
            each.close()


async def _beat(life: Life, told: Sequence[Outlet]) -> None:
    while True:
        sign = sign_of(life)
        for each in told:
            each.say(sign)
        await asyncio.sleep(min(PERIOD, sign.limit / 4))


def sign_of(life: Life) -> Sign:
    """How a process is now: one that runs consumes as long as Redis confirms its lease."""
    state = life.node._hm.state
    is_consuming = state is NodeState.RUNNING and life.heart.may_speak()
    return Sign(state.value, is_consuming, time.monotonic(), life.about.lease)
