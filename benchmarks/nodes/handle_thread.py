"""A node with one ``def`` handler, on a thread."""

from __future__ import annotations

from typing import Any

from benchmarks.task import Task
from hivemind import subscription

TASK = Task.here()
handled = TASK.open().handled


@subscription(TASK.topic)
def count(payload: Any) -> None:
    handled[0] += 1
