"""A node with one ``async def`` service that sends as much as it may."""

from __future__ import annotations

from benchmarks.task import Task
from hivemind import AsyncService, service

TASK = Task.here()
sender = TASK.sender()


@service(TASK.topic, durable=TASK.durable)
async def load(service: AsyncService) -> int:
    while not sender.is_over:
        for payload in sender.payloads():
            service.send(payload)
        await service.drain()
        if sender.pause:
            await service.sleep_for(sender.pause)
    return 1
