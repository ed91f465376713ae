"""Ending a task for certain, and telling that from what only looks like it.

``asyncio.wait_for`` of Python 3.11 swallows a cancellation that comes in the same turn as the result
(python/cpython#86296), and redis-py waits with it: one ``cancel()`` may not be enough.
"""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN = 0.05  #: seconds after which a task that goes on is cancelled again

#: What a function of somebody else's may raise without having been told to end: it may have awaited a task that it
#: cancelled itself, have called ``sys.exit()``, or use what raises no ``Exception``, as Rust's panics and gevent's
#: time-outs do. It would end a worker without a word.
RAISED = BaseException
CLOSING = (GeneratorExit, KeyboardInterrupt)  #: what is to be raised on in any case: somebody ends the coroutine, or us


def is_ending(error: BaseException) -> bool:
    """Whether what was raised in the current task is to be raised on, because that is being cancelled, or closed."""
    if isinstance(error, CLOSING):
        return True
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def raised_on(error: BaseException) -> BaseException:
    """``error``, unless it is to be raised on in any case."""
    if isinstance(error, CLOSING):
        raise error
    return error


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel ``task`` until it is done; what it raises is not ours to handle. May be called twice, or with None."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=AGAIN)
    if task is not None and not task.cancelled():
        task.exception()  # looked at, so that it is not reported as never retrieved
