"""A node with one ``async def`` service that asks."""

from __future__ import annotations

from benchmarks.asking import keep_asking
from benchmarks.task import Task
from hivemind import AsyncService, service

TASK = Task.here()


@service(f"{TASK.topic}-asked")
async def ask(service: AsyncService) -> int:
    request = service.node.request
    await keep_asking(TASK, lambda payload: request(TASK.topic, payload))
    return 1
