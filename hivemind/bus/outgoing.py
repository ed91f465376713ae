"""What an outbox is made of: its limits, what stays the same from message to message, and what is under way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

Policy = Literal["block", "drop-oldest", "raise"]
#: a command, its topic ("" for a notice of ours), its sequence, and the how-manieth message it is
Entry = tuple[bytes, str, int, int]


class Fate(Enum):
    """What becomes of a message that Redis would not take."""

    DONE = "it is answered for"
    STRAY = "it has to be sent elsewhere, and goes on waiting"
    AGAIN = "it goes again over another connection, and so does all that comes behind it"


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """How much an outbox holds, and what happens when it is full.

    ``block`` makes ``send`` wait on a thread and raise OutboxFull on the loop; ``drop-oldest`` throws away what
    waited longest and counts it; ``raise`` raises OutboxFull everywhere.
    """

    messages: int = 100_000
    size: int = 64 * 1024 * 1024
    policy: Policy = "block"


class Topic:
    """The number of the last message on one topic, and the command that publishes the next.

    ``form % (size + len(time) + len(body), sequence, time, body)`` is that command, as long as ``sequence < limit``.
    """

    __slots__ = ("form", "is_told", "limit", "name", "sequence", "size")

    def __init__(self, name: str, channel: str, head: bytes, verb: bytes = b"PUBLISH") -> None:
        self.name = name
        where = b"*3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(verb), verb, len(channel), channel.encode())
        self.form = where + b"$%d\r\n" + head + b"%b}\r\n"
        self.sequence = 0
        self.size = len(head % (1, b"") + b"}")
        self.limit = 10  # the first sequence that takes one more digit
        self.is_told = True  # whether receivers were told what the last message on it was

    def skip(self) -> None:
        """A message that is thrown away had its number, so that receivers miss it."""
        self.sequence += 1
        if self.sequence >= self.limit:
            self.grow()

    def grow(self) -> None:
        """Sequences take one more digit from now on."""
        self.limit *= 10
        self.size += 1


Raw = tuple[Topic, float, bytes]  #: a message that has no number yet: its topic, when it was sent, its body
_NOTHING: Entry = (b"", "", 0, 0)


class Batch:
    """Commands that were written at once; Redis has answered ``done`` of them, in order."""

    __slots__ = ("done", "entries")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.done = 0

    @property
    def left(self) -> int:
        """How many have no answer."""
        return len(self.entries) - self.done

    def let_go(self) -> None:
        """The next one to be answered is not ours to answer for any more."""
        self.entries[self.done] = _NOTHING


class Question:
    """A PING of ours, and who wants its reply; nobody: it is a sign of life for the link."""

    __slots__ = ("reply",)

    def __init__(self, reply: asyncio.Future[Any] | None = None) -> None:
        self.reply = reply
