"""FastStream on Redis: one awaited publish after the other, or pipelines; its line of log per message is off.

By channels or, for durable delivery, by streams with a consumer group.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from ..asking import keep_asking
from ..task import Task
from . import roles

GROUP = "group"


def where(task: Task) -> dict[str, Any]:
    """To what it publishes."""
    return {"stream": task.topic} if task.durable else {"channel": task.topic}


async def publish(task: Task) -> None:
    """As its documentation begins: ``await broker.publish``."""
    sender, to = task.sender(), where(task)
    async with RedisBroker(task.url, logger=None) as broker:
        while not sender.is_over:
            for payload in sender.payloads():
                await broker.publish(payload, **to)
            await asyncio.sleep(sender.pause)


async def publish_by_pipeline(task: Task) -> None:
    """As its page on pipelines says."""
    sender, to = task.sender(), where(task)
    async with RedisBroker(task.url, logger=None) as broker:
        redis = await broker.connect()
        while not sender.is_over:
            pipe = redis.pipeline(transaction=False)
            for payload in sender.payloads():
                await broker.publish(payload, pipeline=pipe, **to)
            await pipe.execute()
            await asyncio.sleep(sender.pause)


async def subscribe(task: Task) -> None:
    """One subscriber in an application; as its page on consumer groups says, it acknowledges what was handled."""
    broker, count = RedisBroker(task.url, logger=None), task.handler()

    async def handle(message: dict[str, Any]) -> None:
        count(message)

    group = StreamSub(task.topic, group=GROUP, consumer="1") if task.durable else None
    broker.subscriber(task.topic if group is None else None, stream=group)(handle)
    await FastStream(broker, logger=None).run()


async def ask(task: Task) -> None:
    """As its page on RPC says."""
    async with RedisBroker(task.url, logger=None) as broker:

        async def request(payload: dict[str, Any]) -> Any:
            reply = await broker.request(payload, task.topic, timeout=10.0)
            return await reply.decode()

        await keep_asking(task, request)


async def respond(task: Task) -> None:
    """A subscriber that returns what it got."""
    broker = RedisBroker(task.url, logger=None)

    async def handle(message: dict[str, Any]) -> dict[str, Any]:
        return message

    broker.subscriber(task.topic)(handle)
    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    roles.run(
        publish=publish,
        publish_by_pipeline=publish_by_pipeline,
        subscribe=subscribe,
        ask=ask,
        respond=respond,
    )
