"""A node that lists everybody in the hive again and again, and takes the time."""

from __future__ import annotations

import time

from benchmarks.task import Task
from hivemind import Node, service

window = Task.here().open()


class Listing(Node):
    @service("listing", every=0.05)
    async def list(self) -> None:
        began = time.perf_counter_ns()
        found = await self.registry.instances()
        window.sample(time.perf_counter_ns() - began)
        window.handled[0] = len(found)
