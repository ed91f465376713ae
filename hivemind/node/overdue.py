"""How many messages have been in an outbox for long: what is there, less what was handed over lately. Pure."""

from __future__ import annotations

LONG = 2.0  #: seconds


class Overdue:
    """Looks at an outbox now and then, and remembers how much had been handed over when."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = []  # when, and how much had been handed over; one is older than LONG

    def of(self, waiting: int, sent: int, now: float) -> int:
        """At least so many of ``waiting`` messages were there LONG ago; ``sent`` were handed over in all."""
        self._marks.append((now, sent))
        while len(self._marks) > 1 and now - self._marks[1][0] >= LONG:
            del self._marks[0]
        since, before = self._marks[0]
        return max(0, waiting - (sent - before)) if now - since >= LONG else 0
