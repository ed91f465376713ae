"""Work for a group of readers that is done again and again: whenever a bell rings, and until Redis does its part."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..bell import Bell
from ..burst import Burst
from ..cancelling import end
from ..errors import RedisError, TakenOver

log = logging.getLogger("hivemind.durable")

LONG = 60.0  #: seconds after which a job looks though nobody rang
RETRY = 0.25  #: seconds until what Redis would not do is tried again
GONE = "NOGROUP"  # the stream, or its group, was removed

Job = Callable[[], Awaitable[float]]


class Jobs:
    """The jobs of one ``group``. Each does what there is to do, and returns in how many seconds it wants to look again.

    ``on_taken()`` is called when somebody took over from this life, which ends them; ``on_gone()`` is awaited when
    streams or groups were removed.
    """

    def __init__(self, group: str, on_taken: Callable[[], None], on_gone: Callable[[], Awaitable[None]]) -> None:
        self._group, self._on_taken, self._on_gone = group, on_taken, on_gone
        self._is_over = False
        self._tasks: list[asyncio.Task[None]] = []
        self._complaints = Burst(10.0)

    def start(self, job: Job, bell: Bell) -> None:
        """Do this whenever its bell rings."""
        self._tasks.append(asyncio.create_task(self._work(job, bell), name=f"{job.__name__} {self._group}"))

    async def aclose(self) -> None:
        """End, whatever there is to do."""
        for task in self._tasks:
            await end(task)

    async def _work(self, job: Job, bell: Bell) -> None:
        wait = LONG
        while not self._is_over:
            await bell.wait(wait)
            try:
                wait = await job()
            except TakenOver:
                self._is_over = True
                self._on_taken()
            except RedisError as error:
                if GONE in str(error):
                    with suppress(RedisError):
                        await self._on_gone()
                if self._complaints.first() is not None:
                    log.warning("group %s: %s; trying again", self._group, error)
                wait = RETRY
            except Exception:
                log.exception("group %s", self._group)
                wait = RETRY
