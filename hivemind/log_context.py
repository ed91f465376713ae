"""What is being done where a line is logged: which message is handled, on which topic."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, TypeAlias

from .message import envelope_of

#: topic, anything, the envelope as it came or as it was read (None: no message is at hand), and maybe more
AtHand: TypeAlias = tuple[Any, ...]

#: set before each message is handled; what begins inside (tasks, ``asyncio.to_thread``) has it, too
at_hand: ContextVar[AtHand | None] = ContextVar("hivemind_at_hand", default=None)


def named() -> tuple[str, str]:
    """The topic at hand, and the id of the message; "" for what there is not, as where it is no message of ours."""
    entry = at_hand.get()
    if entry is None:
        return "", ""
    topic, source = str(entry[0]), entry[2]
    try:
        envelope = envelope_of(source)
        return topic, f"{topic}/{envelope['n']}/{envelope['e']}/{envelope['s']}" if envelope["n"] else ""
    except (ValueError, TypeError, KeyError):
        return topic, ""
