"""One timer for all that has a deadline: one for each would cost as much to make and cancel as a request to write."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from typing import Protocol

LATE = 2e-6  #: seconds by which, for each that waits, a deadline may be late: all are looked through
TICK = 0.001  #: seconds that a loop may be too early


class Timed(Protocol):
    """What has a deadline, a time of the loop."""

    deadline: float

    def expired(self) -> None:
        """It has passed. May be said of what is over already."""


class Deadlines:
    """Watches over those in ``waiting``, which somebody else fills and empties."""

    def __init__(self, waiting: Mapping[int, Timed]) -> None:
        self._waiting = waiting
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """Something has been added that has this one."""
        if deadline < self._at:
            self._set(deadline)

    def close(self) -> None:
        """Watch no more. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        self.close()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time() + TICK
        self._at, self._timer = math.inf, None
        over = [one for one in self._waiting.values() if one.deadline <= now]
        for one in sorted(over, key=lambda one: one.deadline):
            one.expired()
        earliest = _earliest(self._waiting.values(), now)
        if earliest < self._at:
            self._set(max(earliest, now + LATE * len(self._waiting)))


def _earliest(waiting: Iterable[Timed], now: float) -> float:
    """The next deadline; what is past its own has been told, and is about to leave."""
    return min((one.deadline for one in waiting if one.deadline > now), default=math.inf)
