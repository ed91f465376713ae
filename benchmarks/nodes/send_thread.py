"""A node with one ``def`` service, on a thread, that sends as much as it may."""

from __future__ import annotations

from benchmarks.task import Task
from hivemind import Service, service

TASK = Task.here()
sender = TASK.sender()


@service(TASK.topic)
def load(service: Service) -> int:
    while not sender.is_over:
        for payload in sender.payloads():
            service.send(payload)
        if sender.pause:
            service.sleep_for(sender.pause)
    return 1
