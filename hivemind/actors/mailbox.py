"""What waits for an actor: what concerns its life goes ahead of what was sent to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .answer import Answer
from .pid import PID


class Overflow(Enum):
    """What happens to a message for a mailbox that is full. Each that gets lost so is a dead letter."""

    DROP_NEWEST = "drop newest"  # the one that comes
    DROP_OLDEST = "drop oldest"  # the one that has waited longest, and the one that comes has room


class Turn:
    """One thing that an actor is to do: ``function(*arguments)``.

    ``mailbox`` is where it came to, "" where it is no message; ``answer`` is who waits for what it returns.
    """

    __slots__ = ("answer", "arguments", "function", "is_async", "mailbox")

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        is_async: bool,
        mailbox: str = "",
        answer: Answer | None = None,
    ) -> None:
        self.function, self.arguments, self.is_async = function, arguments, is_async
        self.mailbox, self.answer = mailbox, answer


@dataclass(frozen=True, slots=True)
class Room:
    """How many messages may wait, None for any number, and what happens when there are so many."""

    limit: int | None = None
    overflow: Overflow = Overflow.DROP_NEWEST

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit: {self.limit} messages may wait: write 1 or more, or None for any number")


ANY = Room()


class Mailbox:
    """Filled on the loop, and emptied there or on a thread: whoever has the actor's turn."""

    __slots__ = ("_urgent", "_waiting", "room")

    def __init__(self, room: Room = ANY) -> None:
        self.room = room
        self._waiting: deque[Turn] | None = None  # most actors of a hundred thousand have nothing to do
        self._urgent: deque[Turn] | None = None

    def put(self, turn: Turn) -> Turn | None:
        """Let it wait; return what has no room."""
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = deque()
        elif self.room.limit is not None and len(waiting) >= self.room.limit:
            if self.room.overflow is Overflow.DROP_NEWEST:
                return turn
            dropped = waiting.popleft()
            waiting.append(turn)
            return dropped
        waiting.append(turn)
        return None

    def put_first(self, turn: Turn) -> None:
        """Let it wait ahead of all messages, behind others like it."""
        if self._urgent is None:
            self._urgent = deque()
        self._urgent.append(turn)

    def take(self) -> Turn | None:
        """What is next."""
        if self._urgent:
            return self._urgent.popleft()
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, turn: Turn) -> None:
        """What was taken and is next again."""
        if self._urgent is None:
            self._urgent = deque()
        self._urgent.appendleft(turn)

    def clear(self) -> list[Turn]:
        """Take all messages."""
        left = list(self._waiting or ())
        self._waiting = None
        return left

    def __len__(self) -> int:
        return len(self._waiting) if self._waiting else 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody got, and why."""

    sender: PID
    to: PID
    mailbox: str
    body: bytes
    reason: str
