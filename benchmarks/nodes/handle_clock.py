"""A node whose handler takes the time that each message needed."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.task import Task
from hivemind import subscription

TASK = Task.here()
window = TASK.open()


@subscription(TASK.topic)
async def clock(payload: dict[str, Any]) -> None:
    window.sample(time.perf_counter_ns() - payload["t"])
    window.handled[0] += 1
