"""A node with one durable ``async def`` handler, for all that there is."""

from __future__ import annotations

from typing import Any

from benchmarks.task import Task
from hivemind import subscription

TASK = Task.here()
handled = TASK.open().handled


@subscription(TASK.topic, durable=True, since="all")
async def count(payload: Any) -> None:
    handled[0] += 1
