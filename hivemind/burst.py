"""Saying a thing once, not a thousand times: the first of a burst is logged, the rest are counted."""

from __future__ import annotations

import time


class Burst:
    """Lets the first event of every ``seconds`` through, and says how many were held back since."""

    __slots__ = ("_held", "_next", "seconds")

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._next = float("-inf")
        self._held = 0

    def first(self) -> int | None:
        """How many events were held back since the last that was let through; None: hold this one back, too."""
        now = time.monotonic()
        if now < self._next:
            self._held += 1
            return None
        held, self._held = self._held, 0
        self._next = now + self.seconds
        return held

    def more(self, held: int) -> str:
        """What stands behind an event that was let through, after so many that were not."""
        return f" ({held} more like it in the last {self.seconds:g} s or so)" if held else ""
