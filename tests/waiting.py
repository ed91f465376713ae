"""Waiting for something to become true: the only sleeps in the tests are here."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

STEP, LONGEST_STEP = 0.005, 0.2  #: seconds between two looks
REST = 5.0  #: how many times as long as a look the pause after it is: many tests wait at once on few cores


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
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {why}")
        time.sleep(_pause(began))


async def eventually_async(check: Callable[[], T | Awaitable[T]], within: float = 5.0) -> T:
    """As ``eventually``, on the event loop: ``check`` may be a function or a coroutine function."""
    deadline = time.monotonic() + within
    while True:
        began = time.monotonic()
        value, why = await _attempt_async(check)
        if why is None:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {why}")
        await asyncio.sleep(_pause(began))


def _pause(began: float) -> float:
    return min(max(STEP, REST * (time.monotonic() - began)), LONGEST_STEP)


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
