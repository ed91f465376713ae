"""A node whose handler's payload is a pydantic model: every message is validated."""

from __future__ import annotations

from pydantic import BaseModel

from benchmarks.task import Task
from hivemind import subscription

TASK = Task.here()
handled = TASK.open().handled


class Reading(BaseModel):
    i: int
    unit: str


@subscription(TASK.topic)
async def count(payload: Reading) -> None:
    handled[0] += 1
