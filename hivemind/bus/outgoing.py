"""What an outbox is made of: its limits, and what stays the same from message to message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Policy = Literal["block", "drop-oldest", "raise"]


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
    """What does not change between two messages on one topic, and the number of the last one."""

    __slots__ = ("command", "is_told", "sequence")

    def __init__(self, channel: str) -> None:
        name = channel.encode()
        self.command = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$" % (len(name), name)
        self.sequence = 0
        self.is_told = True  # whether receivers were told what the last message on it was
