"""Waiting for something to become true: the only sleeps in the tests are here."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

STEP, LONGEST_STEP = 0.005, 0.03  #: seconds between two looks: twice what a look takes, so that waiting costs little


def eventually(check: Callable[[], T], within: float = 5.0) -> T:
    """Call ``check`` until it returns something true, and return that.

    An AssertionError in it counts as "not yet". After ``within`` seconds the last one is raised, or one that
    shows what ``check`` last returned.
    """
    deadline = time.monotonic() + within
    while True:
        began = time.monotonic()
        value, why = _attempt(check)
        if why is None:
            return value
        if (now := time.monotonic()) > deadline:
            raise AssertionError(f"not within {within:g} s: {why}")
        time.sleep(min(max(STEP, 2.0 * (now - began)), LONGEST_STEP))


async def eventually_async(check: Callable[[], T | Awaitable[T]], within: float = 5.0) -> T:
    """As ``eventually``, on the event loop: ``check`` may be a function or a coroutine function."""
    deadline = time.monotonic() + within
    while True:
        value, why = await _attempt_async(check)
        if why is None:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {why}")
        await asyncio.sleep(STEP)


def _attempt(check: Callable[[], T]) -> tuple[T, str | None]:
    try:
        value = check()
    except AssertionError as error:
        return None, str(error) or "an assertion failed"  # type: ignore[return-value]  # with a reason no value counts
    return value, None if value else f"{_name(check)} gives {value!r}"


async def _attempt_async(check: Callable[[], T | Awaitable[T]]) -> tuple[T, str | None]:
    try:
        found = check()
        value = await found if inspect.isawaitable(found) else found
    except AssertionError as error:
        return None, str(error) or "an assertion failed"  # type: ignore[return-value]  # with a reason no value counts
    return value, None if value else f"{_name(check)} gives {value!r}"


def _name(check: object) -> str:
    """The source of a lambda, the name of a function: what a failed wait shows."""
    name = getattr(check, "__name__", repr(check))
    if name != "<lambda>":
        return str(name)
    try:
        return inspect.getsource(check).strip()  # type: ignore[arg-type]  # a TypeError says what has no source
    except (OSError, TypeError):
        return "the check"
