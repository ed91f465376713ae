"""By which clock a node waits: the monotonic one, but where a test turns it.

On the loop that is the loop's own time; threads ask here.
"""

from __future__ import annotations

import asyncio
import threading
import time


class Clock:
    """The monotonic clock."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait on a thread until ``event`` is set, ``seconds`` at most; whether it is."""
        return event.wait(seconds)


REAL = Clock()


def clock_of(loop: asyncio.AbstractEventLoop) -> Clock:
    """The clock by which the loop's time goes."""
    found = getattr(loop, "clock", REAL)
    return found if isinstance(found, Clock) else REAL
