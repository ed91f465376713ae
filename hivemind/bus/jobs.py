"""Work for a group of readers that is done again and again: whenever a bell rings, and until Redis does its part."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..bell import Bell
from ..cancelling import end
from ..errors import RedisError, RedisRefused, TakenOver
from .outage import Outage

log = logging.getLogger("hivemind.durable")

LONG = 60.0  #: seconds after which a job looks though nobody rang
RETRY = 0.25  #: seconds until what Redis would not do is tried again
GONE = "NOGROUP"  # the stream, or its group, was removed

Job = Callable[[], Awaitable[float]]


class Jobs:
    """The jobs of one ``group``. Each does what there is to do, and returns in how many seconds it wants to look again.

    ``on_taken()`` is called when somebody took over from this life, which ends them; ``on_gone()`` is awaited when
    streams or groups were removed. ``outage`` is told when Redis does not do its part.
    """

    def __init__(
        self, group: str, outage: Outage, on_taken: Callable[[], None], on_gone: Callable[[], Awaitable[None]]
    ) -> None:
        self._group, self._on_taken, self._on_gone = group, on_taken, on_gone
        self._is_over = False
        self._tasks: list[tuple[asyncio.Task[None], Bell]] = []
        self._outage = outage

    def start(self, job: Job, bell: Bell) -> None:
        """Do this whenever its bell rings."""
        task = asyncio.create_task(self._work(job, bell), name=f"{job.__name__} {self._group}")
        self._tasks.append((task, bell))

    async def aclose(self) -> None:
        """End, whatever there is to do."""
        for task, bell in self._tasks:
            await end(task)
            self._outage.forget(bell)

    async def _work(self, job: Job, bell: Bell) -> None:
        wait = LONG
        while not self._is_over:
            await bell.wait(wait)
            try:
                wait = await job()
                self._outage.back(bell)
            except TakenOver:
                self._is_over = True
                self._on_taken()
            except RedisError as error:
                await self._mend(error, bell)
                wait = RETRY
            except Exception:
                log.exception("group %s", self._group)
                wait = RETRY

    async def _mend(self, error: RedisError, bell: Bell) -> None:
        """What was removed is made anew; else it is Redis that does not do its part."""
        if GONE in str(error):
            with suppress(RedisError):
                await self._on_gone()
            return
        is_refused = isinstance(error, RedisRefused)
        self._outage.failed(bell, RedisRefused(f"group {self._group}: {error}") if is_refused else error)
