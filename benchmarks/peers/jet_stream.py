"""JetStream through nats-py: ``publish_async``, and a durable consumer, by pull or by push, that acknowledges each.

The stream lies in files, as is JetStream's default.
"""

from __future__ import annotations

import asyncio

import nats
import orjson
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import BadRequestError

from ..task import Task
from . import roles

STREAM, CONSUMER = "BENCH", "handler"
BATCH = 500  #: messages of one pull at the most
#: not given out again while we measure, and as many at once as the window lets be on their way
CONSUMING = ConsumerConfig(
    ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.NEW, ack_wait=60, max_ack_pending=20_000
)


async def stream(task: Task) -> JetStreamContext:
    """The stream, made by whoever comes first."""
    context = (await nats.connect(task.url)).jetstream()
    try:
        await context.add_stream(name=STREAM, subjects=[task.topic])
    except BadRequestError:  # the other makes it at this very moment
        await asyncio.sleep(0.2)
        await context.add_stream(name=STREAM, subjects=[task.topic])
    return context


async def publish(task: Task) -> None:
    """Publish without waiting for each answer; its own limit of unanswered ones holds."""
    sender, context = task.sender(), await stream(task)
    while not sender.is_over:
        for payload in sender.payloads():
            await context.publish_async(task.topic, orjson.dumps(payload))
        await asyncio.sleep(sender.pause)
    await context.publish_async_completed()


async def pull(task: Task) -> None:
    """Fetch, handle, acknowledge."""
    handle, context = task.handler(), await stream(task)
    subscription = await context.pull_subscribe(task.topic, durable=CONSUMER, config=CONSUMING)
    while True:
        try:
            messages = await subscription.fetch(BATCH, timeout=1)
        except nats.errors.TimeoutError:
            continue
        for message in messages:
            handle(orjson.loads(message.data))
            await message.ack()


async def push(task: Task) -> None:
    """Handle and acknowledge in a callback."""
    handle, context = task.handler(), await stream(task)

    async def on_message(message: Msg) -> None:
        handle(orjson.loads(message.data))
        await message.ack()

    await context.subscribe(task.topic, durable=CONSUMER, cb=on_message, manual_ack=True, config=CONSUMING)
    await asyncio.Event().wait()


async def unsettled(url: str) -> int:
    """How many messages the consumer has yet to be given, or to acknowledge."""
    connection = await nats.connect(url)
    info = await connection.jetstream().consumer_info(STREAM, CONSUMER)
    await connection.close()
    return int(info.num_pending or 0) + int(info.num_ack_pending or 0)


if __name__ == "__main__":
    roles.run(publish=publish, pull=pull, push=push)
