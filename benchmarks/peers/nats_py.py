"""nats-py: a subscription with a callback, and ``await nc.publish``, as in its own benchmarks."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
import orjson
from nats.aio.msg import Msg

from ..asking import keep_asking
from ..task import Task
from . import roles


async def publish(task: Task) -> None:
    """Publish a batch, then give the loop a turn."""
    sender, connection = task.sender(), await nats.connect(task.url)
    while not sender.is_over:
        for payload in sender.payloads():
            await connection.publish(task.topic, orjson.dumps(payload))
        await asyncio.sleep(sender.pause)
    await connection.drain()


async def subscribe(task: Task) -> None:
    """Count in a callback."""
    handle, connection = task.handler(), await nats.connect(task.url)

    async def on_message(message: Msg) -> None:
        handle(orjson.loads(message.data))

    await connection.subscribe(task.topic, cb=on_message)
    await asyncio.Event().wait()


async def ask(task: Task) -> None:
    """``await nc.request``."""
    connection = await nats.connect(task.url)

    async def request(payload: dict[str, Any]) -> Any:
        return orjson.loads((await connection.request(task.topic, orjson.dumps(payload), timeout=10)).data)

    await keep_asking(task, request)
    await connection.drain()


async def respond(task: Task) -> None:
    """``await msg.respond``, in a callback."""
    connection = await nats.connect(task.url)

    async def on_message(message: Msg) -> None:
        await message.respond(orjson.dumps(orjson.loads(message.data)))

    await connection.subscribe(task.topic, cb=on_message)
    await asyncio.Event().wait()


if __name__ == "__main__":
    roles.run(publish=publish, subscribe=subscribe, ask=ask, respond=respond)
