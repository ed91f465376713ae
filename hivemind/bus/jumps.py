"""When somebody set Redis's clock: what its leases say is worth nothing then, and what is due by it seems to be due too
early if it was set forward.
"""

from __future__ import annotations

from collections import deque

LEAST = 1.5  #: seconds; what is less may have been the way of an answer, or the clock put right little by little
SURE = 0.5  #: seconds after which an answer says nothing exact any more of the time at which it was given
MOST = 8  #: jumps that are remembered


class Jumps:
    """Fed with what Redis's clock and ours said at one moment, again and again."""

    def __init__(self) -> None:
        self._ahead: tuple[float, float] | None = None  # of ours: at least, and at the most
        self._distance: float | None = None  # the same, as the last quick answer said
        self._found: deque[tuple[int, int]] = deque(maxlen=MOST)

    def saw(self, theirs: float, asked: float, answered: float) -> bool:
        """Redis said ``theirs``, unix seconds, between two moments of our monotonic clock: whether its clock was surely
        set, forward or back, since it was seen before. That is noticed however slow answers are.
        """
        before, self._ahead = self._ahead, (theirs - answered, theirs - asked)
        if answered - asked <= SURE:
            self._measure(theirs, theirs - asked)
        if before is None:
            return False
        return self._ahead[0] > before[1] + LEAST or self._ahead[1] < before[0] - LEAST

    def _measure(self, theirs: float, distance: float) -> None:
        by = 0.0 if self._distance is None else distance - self._distance
        if by > LEAST:
            self._found.append((int((theirs - by / 2) * 1000), int(by * 1000)))
        elif by < -LEAST:
            self._found.clear()  # what was parked before is due by the clock as it was then, or is capped by its delay
        self._distance = distance

    @property
    def text(self) -> str:
        """Those forward, as the functions take them: "<unix ms between before and after>+<ms> ...", "" for none."""
        return " ".join(f"{at}+{by}" for at, by in self._found)
