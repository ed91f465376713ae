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
        self._wanted: set[Call] = set()  # of those that wait

    def __len__(self) -> int:
        return len(self.running) + len(self._wanted)

    def wait(self, call: Call, payload: Any) -> None:
        """Take one more in."""
        self._waiting.append((call, payload))
        self._wanted.add(call)

    def next(self, now: float) -> Job | None:
        """Begin what is next and still in time; None if there is nothing."""
        while self._waiting:
            call, _ = job = self._waiting.popleft()
            if call not in self._wanted:
                continue
            if call.deadline <= now:
                call.drop()
            self._wanted.discard(call)
            if not call.is_over:
                self.running.add(call)
                return job
        return None

    def withdraw(self, call: Call) -> bool:
        """Nobody wants it any more; True if it waited, and will not be begun."""
        if call not in self._wanted:
            return False
        self._wanted.discard(call)
        return True

    def drop_late(self, now: float) -> None:
        """Drop what is past its deadline."""
        for call in [*self.running, *self._wanted]:
            if call.deadline <= now and not call.is_stream:
                call.drop()
        if len(self._wanted) < len(self._waiting) // 2:
            self._waiting = deque(job for job in self._waiting if job[0] in self._wanted)

    def hand_back(self) -> None:
        """Let others have all that waits."""
        for call, _ in self._waiting:
            if call in self._wanted:
                call.hand_back()
        self._waiting.clear()
        self._wanted.clear()
