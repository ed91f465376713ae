"""Hivemind's clients: many subscribers in one process, each with connections of its own, or one with many patterns."""

from __future__ import annotations

import asyncio

import hivemind

from ..task import Task
from . import roles

AT_ONCE = 50  #: patterns that are subscribed to at the same time


async def subscribe(task: Task) -> None:
    """``count`` clients that count in the slots from ``slot`` on."""
    async with asyncio.TaskGroup() as group:
        for slot in range(task.slot, task.slot + task.count):
            group.create_task(client(task, slot))


async def client(task: Task, slot: int) -> None:
    """One subscriber."""
    handled = task.open().handled
    async with hivemind.connect(task.url) as hive, hive.subscribe(task.topic) as messages:
        async for _ in messages:
            handled[slot] += 1


async def hold(task: Task) -> None:
    """One client with ``count`` wildcard patterns that nobody's topic matches; says when it has them."""
    async with hivemind.connect(task.url) as hive:
        held = [hive.subscribe(f"other-{number}-*") for number in range(task.count)]
        for start in range(0, task.count, AT_ONCE):
            await asyncio.gather(*(one.open() for one in held[start : start + AT_ONCE]))
        task.open().handled[task.slot] = task.count
        await asyncio.Event().wait()


if __name__ == "__main__":
    roles.run(subscribe=subscribe, hold=hold)
