"""An errand by Celery with Redis as its broker, as its pages on Redis and on late acknowledgement say.

A task is acknowledged when it was done, put back when its process is lost, and one at a time is taken ahead. What was
not acknowledged is given out again after VISIBLE seconds; its own setting is an hour, which is for longer tasks.
"""

from __future__ import annotations

import os
import time
from functools import cache

from celery import Celery

from ..errand import ACCEPTED, BEGAN, DONE, PAUSE, REFUSED, Errand

VISIBLE = 5  #: seconds
URL = os.environ.get("HIVEMIND_REDIS_URL", "").replace("unix://", "redis+socket://")

app = Celery("errand", broker=URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBLE,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
)


@cache
def worker() -> Errand:
    """In the process that handles."""
    return Errand.here("worker")


@app.task(name="errand")  # type: ignore[untyped-decorator]
def handle(number: int) -> None:
    """One number."""
    worker().note(BEGAN, number)
    while worker().is_held:
        time.sleep(0.01)
    worker().note(DONE, number)


def send() -> None:
    """Call one after the other, tried again as its own policy says; what raises then was refused."""
    errand = Errand.here("sender")
    while True:
        for number in errand.due():
            began, what = time.monotonic(), ACCEPTED
            try:
                handle.delay(number)
            except Exception:  # noqa: BLE001 - whatever it is: the sender knows that it may not have been taken
                what = REFUSED
            errand.note(what, number, began)
        time.sleep(PAUSE)


if __name__ == "__main__":
    send()
