"""How long a connection waits between two tries to be made: thousands of them must neither come at once nor for ever.

What is refused at once costs nobody anything, and is tried again soon. A try that took long, or that Redis turned away
because it has too many connections, has cost it work that it may not have the time for: those are spread over seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ..backoff import Backoff

QUICK_CAP = 0.25  #: seconds between two tries at the most, as long as they fail at once
SLOW_CAP = 5.0  #: seconds between two tries at the most, when they last long, or Redis has no room
LONG = 1.0  #: seconds after which a try has lasted long


class Pace:
    """The pauses of one connection, in seconds: exponential, capped, with full jitter.

    Each kind of failure has its own. ``rng`` returns a float in [0, 1).
    """

    __slots__ = ("_quick", "_slow")

    def __init__(self, quick: Backoff | None = None, *, rng: Callable[[], float] = random.random) -> None:
        self._quick = quick or Backoff(0.05, QUICK_CAP, rng=rng)
        self._slow = Backoff(0.25, SLOW_CAP, rng=rng)

    def pause(self, took: float, *, is_full: bool = False) -> float:
        """How long to wait after a try that failed after ``took`` seconds, or because Redis ``is_full``."""
        return (self._slow if is_full or took > LONG else self._quick).next()

    def reset(self) -> None:
        """Begin anew after a success."""
        self._quick.reset()
        self._slow.reset()
