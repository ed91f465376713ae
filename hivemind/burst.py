"""Saying a thing once, not a thousand times: the first of a burst is logged, the rest are counted."""

from __future__ import annotations

import time
from typing import Final

from .log_context import at_hand, named

MOST_NAMED = 20  #: messages held back of which a line in JSON says the ids
MORE: Final = "more_ids"  #: what of a record has them


class Burst:
    """Lets the first event of every ``seconds`` through, and says how many were held back since."""

    __slots__ = ("_before", "_held", "_ids", "_next", "seconds")

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._next = float("-inf")
        self._held = 0
        self._ids: list[str] = []
        self._before: tuple[str, ...] = ()

    def first(self) -> int | None:
        """How many events were held back since the last that was let through; None: hold this one back, too."""
        now = time.monotonic()
        if now < self._next:
            self._held += 1
            if len(self._ids) < MOST_NAMED and at_hand.get() is not None and (message := named()[1]):
                self._ids.append(message)
            return None
        held, self._held = self._held, 0
        self._before, self._ids = tuple(self._ids), []
        self._next = now + self.seconds
        return held

    def more(self, held: int) -> str:
        """What stands behind an event that was let through, after so many that were not."""
        return f" ({held} more like it in the last {self.seconds:g} s or so)" if held else ""

    @property
    def extra(self) -> dict[str, tuple[str, ...]]:
        """Which messages those were, the first MOST_NAMED: for ``extra`` of the logging call."""
        return {MORE: self._before}
