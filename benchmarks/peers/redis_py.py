"""redis-py: asyncio's PubSub, and publishing by pipelines."""

from __future__ import annotations

import asyncio

import orjson
from redis.asyncio import Redis

from ..task import Task
from . import roles


async def publish(task: Task) -> None:
    """One pipeline for each batch."""
    sender = task.sender()
    async with Redis.from_url(task.url) as redis:
        while not sender.is_over:
            pipe = redis.pipeline(transaction=False)
            for payload in sender.payloads():
                pipe.publish(task.topic, orjson.dumps(payload))
            await pipe.execute()
            await asyncio.sleep(sender.pause)


async def subscribe(task: Task) -> None:
    """Listen."""
    handle = task.handler()
    async with Redis.from_url(task.url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(task.topic)
        async for message in pubsub.listen():
            if message["type"] == "message":
                handle(orjson.loads(message["data"]))


if __name__ == "__main__":
    roles.run(publish=publish, subscribe=subscribe)
