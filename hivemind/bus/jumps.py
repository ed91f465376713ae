"""When somebody set Redis's clock forward, as far as we saw it: what is due by it then seems to be due too early."""

from __future__ import annotations

from collections import deque

LEAST = 1.5  #: seconds; what is less may have been the way of an answer, or the clock put right little by little
SURE = 0.5  #: seconds after which an answer says nothing any more of the time at which it was given
MOST = 8  #: jumps that are remembered


class Jumps:
    """Fed with what Redis's clock and ours said at one moment, again and again."""

    def __init__(self) -> None:
        self._distance: float | None = None
        self._found: deque[tuple[int, int]] = deque(maxlen=MOST)

    def saw(self, theirs: float, asked: float, answered: float) -> None:
        """Redis said ``theirs``, unix seconds, between two moments of our monotonic clock."""
        if answered - asked > SURE:
            return
        distance = theirs - asked
        by = 0.0 if self._distance is None else distance - self._distance
        if by > LEAST:
            self._found.append((int((theirs - by / 2) * 1000), int(by * 1000)))
        elif by < -LEAST:
            self._found.clear()  # what was parked before is due by the clock as it was then, or is capped by its delay
        self._distance = distance

    @property
    def text(self) -> str:
        """As the functions take it: "<unix ms between before and after>+<ms> ...", "" for none."""
        return " ".join(f"{at}+{by}" for at, by in self._found)
