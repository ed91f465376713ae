"""FastStream on Redis: one awaited publish after the other, or pipelines; its line of log per message is off."""

from __future__ import annotations

import asyncio
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker

from ..task import Task
from . import roles


async def publish(task: Task) -> None:
    """As its documentation begins: ``await broker.publish``."""
    sender = task.sender()
    async with RedisBroker(task.url, logger=None) as broker:
        while not sender.is_over:
            for payload in sender.payloads():
                await broker.publish(payload, task.topic)
            await asyncio.sleep(sender.pause)


async def publish_by_pipeline(task: Task) -> None:
    """As its page on pipelines says."""
    sender = task.sender()
    async with RedisBroker(task.url, logger=None) as broker:
        redis = await broker.connect()
        while not sender.is_over:
            pipe = redis.pipeline(transaction=False)
            for payload in sender.payloads():
                await broker.publish(payload, task.topic, pipeline=pipe)
            await pipe.execute()
            await asyncio.sleep(sender.pause)


async def subscribe(task: Task) -> None:
    """One subscriber in an application."""
    broker, count = RedisBroker(task.url, logger=None), task.handler()

    async def handle(message: dict[str, Any]) -> None:
        count(message)

    broker.subscriber(task.topic)(handle)
    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    roles.run(publish=publish, publish_by_pipeline=publish_by_pipeline, subscribe=subscribe)
