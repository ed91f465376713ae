"""A node with a ``def`` service that sends 1 KiB texts: while Redis is away it fills the outbox, and then waits."""

from __future__ import annotations

from benchmarks.task import Task
from hivemind import Service, service

TASK = Task.here()
sender = TASK.sender()


@service(TASK.topic)
def flood(service: Service) -> int:
    while not sender.is_over:
        for payload in sender.payloads():
            service.send(payload)
        service.sleep_for(max(sender.pause, 0.001))
    return 1
