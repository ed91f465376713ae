"""A node with one ``async def`` handler."""

from __future__ import annotations

from typing import Any

from benchmarks.task import Task
from hivemind import subscription

TASK = Task.here()
handled = TASK.open().handled


@subscription(TASK.topic)
async def count(payload: Any) -> None:
    handled[0] += 1
