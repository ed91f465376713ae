"""A node with one durable ``async def`` handler, for what comes from now on."""

from __future__ import annotations

from typing import Any

from benchmarks.task import Task
from hivemind import subscription

TASK = Task.here()
handled = TASK.open().handled


@subscription(TASK.topic, durable=True)
async def count(payload: Any) -> None:
    handled[0] += 1
