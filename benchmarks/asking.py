"""What a process does that asks, whoever the peer is: as many requests at a time as the window allows, each timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .task import Task
from .window import HELLO, Window

Ask = Callable[[dict[str, Any]], Awaitable[Any]]


class WrongReply(Exception):
    """A reply that is not the payload of its request."""


async def keep_asking(task: Task, ask: Ask) -> None:
    """Await ``ask(payload)`` again and again until the measurement is over; the reply has to be the payload."""
    window = task.open()
    while not await _is_answered(ask):  # noqa: ASYNC110 - it is another process that we wait for
        await asyncio.sleep(HELLO)
    window.begin()
    async with asyncio.TaskGroup() as group:
        for _ in range(window.limit):
            group.create_task(_ask_on(window, ask, task.gap))


async def _is_answered(ask: Ask) -> bool:
    """Whether somebody is there: peers differ in how they say no."""
    try:
        return bool(await ask({"i": -1}) == {"i": -1})
    except Exception:  # noqa: BLE001 - of any library
        return False


async def _ask_on(window: Window, ask: Ask, gap: float) -> None:
    while not window.is_over:
        payload = {"i": take_number(window), "unit": "C"}
        began = time.perf_counter_ns()
        reply = await ask(payload)
        window.sample(time.perf_counter_ns() - began)
        if reply != payload:
            raise WrongReply(f"{reply!r} to {payload!r}")
        window.handled[0] += 1
        if gap:
            await asyncio.sleep(gap)


def take_number(window: Window) -> int:
    """The number of the next request, which from now on has to be answered."""
    window.sent = number = window.sent + 1
    return number
