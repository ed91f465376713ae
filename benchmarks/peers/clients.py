"""Hivemind's clients: many subscribers in one process, each with connections of its own."""

from __future__ import annotations

import asyncio

import hivemind

from ..task import Task
from . import roles


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


if __name__ == "__main__":
    roles.run(subscribe=subscribe)
