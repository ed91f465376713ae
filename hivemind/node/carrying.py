"""Headers that travel along: what is sent while a message is handled can carry what that message carried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..message import Envelope

PARENT, STATE = "traceparent", "tracestate"  #: headers that travel by themselves: W3C Trace Context
LONGEST_PARENT, LONGEST_STATE = 256, 4096  #: characters; what is longer does not: it would fill others' headers

_carried: ContextVar[dict[str, str] | None] = ContextVar("hivemind_carried", default=None)


def carried() -> Mapping[str, str]:
    """What everything that is sent here and now carries."""
    return _carried.get() or {}


@contextmanager
def carrying(headers: dict[str, str]) -> Iterator[None]:
    """Let what is sent inside, and in the tasks that are started inside, carry ``headers``; they may still change."""
    token = _carried.set(headers)
    try:
        yield
    finally:
        _carried.reset(token)


def trace_in(envelope: Envelope) -> dict[str, str]:
    """The headers of a message that travel by themselves; none in most."""
    headers = envelope.get("h")
    return trace_of(headers) if headers else {}


def trace_of(headers: Mapping[str, Any]) -> dict[str, str]:
    """Those of ``headers`` that travel by themselves."""
    parent, state = str(headers.get(PARENT, "")), str(headers.get(STATE, ""))
    if not 0 < len(parent) <= LONGEST_PARENT:
        return {}
    return {PARENT: parent, STATE: state} if 0 < len(state) <= LONGEST_STATE else {PARENT: parent}


def with_carried(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """``headers`` of one message, and what it carries besides; its own count."""
    around = _carried.get()
    return {**around, **(headers or {})} if around else headers
