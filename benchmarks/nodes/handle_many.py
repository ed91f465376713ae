"""A node with many subscriptions, of which the last one matches."""

from __future__ import annotations

from typing import Any

from benchmarks.task import Task
from hivemind import Node

TASK = Task.here()
handled = TASK.open().handled


class Many(Node):
    def subscriptions(self) -> None:
        for number in range(TASK.count - 1):
            self.add_subscription(f"other-{number}", self.count)
        self.add_subscription(TASK.topic, self.count)

    async def count(self, payload: Any) -> None:
        handled[0] += 1
