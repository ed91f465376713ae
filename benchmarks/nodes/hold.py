"""A node with many wildcard patterns that no topic matches."""

from __future__ import annotations

from typing import Any

from benchmarks.task import Task
from hivemind import Node

TASK = Task.here()


class Holder(Node):
    def subscriptions(self) -> None:
        for number in range(TASK.count):
            self.add_subscription(f"other-{TASK.slot}-{number}-*", self.hear)
        self.attach(self)

    async def hear(self, payload: Any) -> None:
        """Nothing comes."""

    async def start(self, node: object) -> None:
        """All is subscribed to."""
        TASK.open().handled[0] = TASK.count

    async def stop(self, node: object) -> None:
        """Nothing to do."""
