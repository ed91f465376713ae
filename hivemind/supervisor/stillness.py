"""Whether a process that should give signs of life stands still. Pure: it is told what was seen.

Only the time counts in which whoever looks was awake, and had asked: of a machine that slept, or of a watcher who was
stopped himself, nothing is concluded. Who uses the processor, or waits for a disk, is at work, if not at what we wait
for, and has longer; whom a debugger holds is left alone.
"""

from __future__ import annotations

from ..process_table import DISK, HELD, Doing

STILL = 10.0  #: seconds without a sign of life, and without work, after which a process stands still
BUSY = 60.0  #: the same of one that is at work


class Stillness:
    """Judges one process. ``still`` and ``busy`` are seconds."""

    def __init__(self, still: float = STILL, busy: float = BUSY) -> None:
        self._still, self._busy = still, busy
        self.silent, self._idle = 0.0, 0.0  # seconds since the last sign, and since the last sign or work
        self._used: float | None = None

    def heard(self) -> None:
        """It gave a sign of life, or nobody waits for one."""
        self.silent, self._idle, self._used = 0.0, 0.0, None

    def look(self, seconds: float, doing: Doing | None) -> bool:
        """So many ``seconds`` more went by without a sign, and this is what it does now (None: it has ended).

        Whether it stands still.
        """
        if doing is None or doing.state == HELD:
            self.heard()
            return False
        is_at_work = doing.state == DISK or (self._used is not None and doing.used > self._used)
        self._used = doing.used
        self.silent += seconds
        self._idle = 0.0 if is_at_work else self._idle + seconds
        return self._idle >= self._still or self.silent >= self._busy
