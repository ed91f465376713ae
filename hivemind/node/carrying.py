"""Headers that travel along: what is sent while a message is handled can carry what that message carried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

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


def with_carried(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """``headers`` of one message, and what it carries besides; its own count."""
    around = _carried.get()
    return {**around, **(headers or {})} if around else headers
