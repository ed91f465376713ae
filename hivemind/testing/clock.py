"""A clock that a test turns: real time goes on, and ``advance`` lets more of it pass at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..clock import Clock

LOOK = 0.01  #: seconds, real ones, between two looks of a thread that waits whether what it waits for has happened
PATIENCE = 1.0  #: seconds, real ones, that a thread whose time has come may take until it waits again


class TurnedClock(Clock):
    """Goes as the monotonic clock, and as much ahead of it as it was turned. For all threads and loops of a hive."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._held: float | None = None  # what real time is taken for while it is held
        self._turned = threading.Condition()
        self._asleep: dict[threading.Thread, tuple[float, Callable[[], bool]]] = {}  # until when, and whether held
        self._awake: set[threading.Thread] = set()  # whose time came, and who have yet to wait again

    def now(self) -> float:
        """Seconds since some moment."""
        return (time.monotonic() if self._held is None else self._held) + self._ahead

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside only ``turn`` lets time pass."""
        self._held = time.monotonic()
        try:
            yield
        finally:
            self._ahead -= time.monotonic() - self._held
            self._held = None

    def turn(self, seconds: float) -> None:
        """Let ``seconds`` pass; who waits for that wakes."""
        with self._turned:
            self._ahead += seconds
            self._turned.notify_all()

    def wait(self, event: threading.Event, seconds: float, is_held: Callable[[], bool] = lambda: False) -> bool:
        """Wait on a thread until ``event`` is set, ``seconds`` at most; whether it is. It never comes back while
        ``is_held()``.
        """
        me, until = threading.current_thread(), self.now() + seconds
        with self._turned:
            self._awake.discard(me)
            self._asleep[me] = until, is_held
            self._turned.notify_all()
            while is_held() or (not event.is_set() and self.now() < until):
                self._turned.wait(LOOK)
            del self._asleep[me]
            self._awake.add(me)
        return event.is_set()

    @property
    def next(self) -> float:
        """When the next thread that waits is due; infinity if none does."""
        with self._turned:
            return min((until for until, is_held in self._asleep.values() if not is_held()), default=float("inf"))

    def settled(self) -> None:
        """Return when every thread whose time has come waits again, or has ended, or takes long."""
        limit = time.monotonic() + PATIENCE
        with self._turned:
            while self._is_busy():
                if time.monotonic() > limit:
                    self._awake.clear()  # they are waited for again when they have waited again
                    return
                self._turned.wait(LOOK)

    def _is_busy(self) -> bool:
        self._awake = {one for one in self._awake if one.is_alive()}
        now = self.now()
        return bool(self._awake) or any(until <= now and not is_held() for until, is_held in self._asleep.values())
