"""What this process takes of its machine."""

from __future__ import annotations

import time

from .process_table import memory

LEAST = 0.5  #: seconds over which the use of processors is told


class Footprint:
    """Told by whoever beats: ``look`` at most so often as that."""

    def __init__(self) -> None:
        self._at, self._used = time.monotonic(), time.process_time()
        self._share = 0.0

    def look(self) -> tuple[int, float]:
        """Bytes of memory, and how much of one processor was used since the look before: 1.0 is all of it."""
        now, used = time.monotonic(), time.process_time()
        if now - self._at >= LEAST:
            self._share = round((used - self._used) / (now - self._at), 4)
            self._at, self._used = now, used
        return memory(), self._share
