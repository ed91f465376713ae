"""Waiting between tries: exponential, capped, with full jitter."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Delays for one thing that is tried again and again; it never gives up.

    The n-th delay is drawn evenly between ``floor`` and ``min(cap, base * 2 ** n)``, in seconds. ``reset()``
    after a success begins anew. ``rng`` returns a float in [0, 1); tests pass their own.
    """

    __slots__ = ("_rng", "attempts", "base", "cap", "floor")

    def __init__(
        self, base: float, cap: float, *, floor: float = 0.0, rng: Callable[[], float] = random.random
    ) -> None:
        self.base, self.cap, self.floor = base, cap, floor
        self.attempts = 0
        self._rng = rng

    @property
    def ceiling(self) -> float:
        """The longest that the next delay can be, in seconds."""
        return float(min(self.cap, self.base * 2 ** min(self.attempts, 32)))

    def next(self) -> float:
        """The next delay in seconds; each call counts as one more failed try."""
        ceiling = self.ceiling
        self.attempts += 1
        return min(ceiling, self.floor) + (ceiling - min(ceiling, self.floor)) * self._rng()

    def reset(self) -> None:
        """Begin anew after a success."""
        self.attempts = 0
