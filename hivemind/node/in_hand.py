"""The requests that one responder has: those that are handled, and those that wait, in order."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..bus.call import Call

Job = tuple[Call, Any]  #: a request and its validated payload


class InHand:
    """``running`` are those that are handled. One that nobody wants any more stays in its place until its turn comes:
    looking for it would take longer the more there are.
    """

    def __init__(self) -> None:
        self.running: set[Call] = set()
        self._waiting: deque[Job] = deque()
        self._gone = 0

    def __len__(self) -> int:
        return len(self.running) + len(self._waiting) - self._gone

    @property
    def is_waiting(self) -> bool:
        """Whether anything waits for a worker."""
        return bool(self._waiting)

    def wait(self, call: Call, payload: Any) -> None:
        """Take one more in."""
        self._waiting.append((call, payload))

    def next(self, now: float) -> Job | None:
        """Begin what is next and still in time; None if there is nothing."""
        while self._waiting:
            call, _ = job = self._waiting.popleft()
            if call.is_over:
                self._gone -= 1
            elif call.deadline <= now:
                call.drop()  # which withdraws it
                self._gone -= 1
            else:
                self.running.add(call)
                return job
        return None

    def withdraw(self, call: Call) -> bool:
        """Nobody wants it any more; True if it waited, and will not be begun."""
        if call in self.running:
            return False
        self._gone += 1
        return True

    def drop_late(self, now: float) -> None:
        """Drop what is past its deadline."""
        for call in [*self.running, *(call for call, _ in self._waiting)]:
            if call.deadline <= now and not call.is_stream:
                call.drop()
        if self._gone > len(self._waiting) // 2:
            self._waiting = deque(job for job in self._waiting if not job[0].is_over)
            self._gone = 0

    def hand_back(self) -> None:
        """Let others have all that waits."""
        while self._waiting:
            self._waiting.popleft()[0].hand_back()
        self._gone = 0
