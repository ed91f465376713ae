"""A node with one ``async def`` responder that returns what it got."""

from __future__ import annotations

from typing import Any

from benchmarks.task import Task
from hivemind import responder

TASK = Task.here()


@responder(TASK.topic)
async def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload
