"""An errand by FastStream on Redis Streams, as its pages on consumer groups and on claiming say.

The worker has two subscribers in one group: one for what is new, one that claims what was given out and not
acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import uvloop
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from ..errand import ACCEPTED, BEGAN, DONE, PAUSE, REFUSED, Errand

STREAM, GROUP = "errand", "group"
IDLE = 5000  #: milliseconds after which what was not acknowledged is claimed


async def send() -> None:
    """Publish one after the other; what raises was refused."""
    errand = Errand.here("sender")
    async with RedisBroker(os.environ["HIVEMIND_REDIS_URL"], logger=None) as broker:
        while True:
            for number in errand.due():
                began, what = time.monotonic(), ACCEPTED
                try:
                    await broker.publish(number, stream=STREAM)
                except Exception:  # noqa: BLE001 - whatever it is: the sender knows that it may not have been taken
                    what = REFUSED
                errand.note(what, number, began)
            await asyncio.sleep(PAUSE)


async def work() -> None:
    """Handle what is new, and what somebody left."""
    errand, broker = Errand.here("worker"), RedisBroker(os.environ["HIVEMIND_REDIS_URL"], logger=None)

    async def handle(number: int) -> None:
        errand.note(BEGAN, number)
        while errand.is_held:  # noqa: ASYNC110 - another process says so
            await asyncio.sleep(0.01)
        errand.note(DONE, number)

    broker.subscriber(stream=StreamSub(STREAM, group=GROUP, consumer="new"))(handle)
    broker.subscriber(stream=StreamSub(STREAM, group=GROUP, consumer="left", min_idle_time=IDLE))(handle)
    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    uvloop.run({"send": send, "work": work}[sys.argv[1]]())
