"""What is being done where a line is logged: which message is handled, on which topic."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any, TypeAlias

from .message import envelope_of

_PARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-|$)")

#: topic, anything, the envelope as it came or as it was read (None: no message is at hand), and maybe more
AtHand: TypeAlias = tuple[Any, ...]

#: set before each message is handled; what begins inside (tasks, ``asyncio.to_thread``) has it, too
at_hand: ContextVar[AtHand | None] = ContextVar("hivemind_at_hand", default=None)


def named() -> tuple[str, str, str]:
    """The topic at hand, the id of the message, and of the trace that it carries; "" for what there is not, as where it
    is no message of ours.
    """
    entry = at_hand.get()
    if entry is None:
        return "", "", ""
    topic, source = str(entry[0]), entry[2]
    try:
        envelope = envelope_of(source)
        message = f"{topic}/{envelope['n']}/{envelope['e']}/{envelope['s']}" if envelope["n"] else ""
        return topic, message, trace_id(envelope.get("h"))
    except (ValueError, TypeError, KeyError):
        return topic, "", ""


def trace_id(headers: Any) -> str:
    """The id of the trace that headers of W3C Trace Context carry; "" where there is none."""
    parent = headers.get("traceparent") if isinstance(headers, dict) else None
    found = _PARENT.match(parent) if isinstance(parent, str) else None
    return found[1] if found else ""
