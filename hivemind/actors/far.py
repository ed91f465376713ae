"""What a system needs of whatever reaches actors elsewhere."""

from __future__ import annotations

from typing import Protocol

from .answer import Answer
from .pid import PID
from .watches import Watch


class Far(Protocol):
    """Reaches actors at other addresses. All of it is called on the loop."""

    def send(self, sender: PID, to: PID, mailbox: str, body: bytes) -> None:
        """Send it there; what cannot be sent is a dead letter."""

    def ask(self, sender: PID, to: PID, mailbox: str, body: bytes, answer: Answer) -> None:
        """The same, and give the answer when it comes."""

    def watch(self, watch: Watch) -> None:
        """Tell it when that has ended, or cannot be reached."""

    def unwatch(self, watch: Watch) -> None:
        """Do not any more."""
