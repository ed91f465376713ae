"""How the copies of a node ended last, on whatever host: what is here at once, the rest as hiveds say it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence

from ..bus.endpoint import Endpoint
from ..cancelling import end
from ..errors import RedisError
from ..settings import Settings
from ..supervisor.actions import Request, Verb
from ..supervisor.control import ask
from ..supervisor.crashes import Crash, crash_in, crash_of, traced

log = logging.getLogger(__name__)

EVERY = 15.0  #: seconds between two questions to the other hosts about one node
HEARD, ANSWERED = 2.0, 5.0  #: seconds in which a hived answers, and in which those that heard us have
KEPT = 200  #: nodes of which is remembered what other hosts said
SAME = 0.5  #: seconds by which a moment in the past may be told differently, as clocks are set
SHOWN = 3  #: crashes of one node
NEWS = 86_400.0  #: seconds for which a crash is shown: `hm why` and the log have the older ones


class Crashes:
    """On the loop. What was read once is not read again until the program ends anew."""

    def __init__(self, endpoint: Endpoint, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._endpoint, self._settings, self._clock = endpoint, settings, clock
        self._here: dict[str, Crash] = {}
        self._far: dict[str, list[Crash]] = {}
        self._asked: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def of(self, node: str, programs: Sequence[str]) -> list[Crash]:
        """The last few of ``programs``, which are the copies of ``node``, of a day. Never raises."""
        if os.name == "nt" or self._settings.hive is None:
            return []
        here = await asyncio.to_thread(self._read, programs)
        if len(self._settings.constants.HOSTS) > 1:
            self._ask(node)
        known = {one.program: one for one in sorted([*here, *self._far.get(node, ())], key=lambda one: one.at)}
        news = [one for one in known.values() if self._clock() - one.at < NEWS]
        return sorted(news, key=lambda one: one.at, reverse=True)[:SHOWN]

    async def close(self) -> None:
        """Ask nobody any more. May be called twice."""
        for task in list(self._tasks):
            await end(task)

    def _read(self, programs: Sequence[str]) -> list[Crash]:
        found = [crash for name in programs if (crash := crash_of(self._settings, name)) is not None]
        found.sort(key=lambda crash: crash.at, reverse=True)
        return [self._traced(crash) for crash in found[:SHOWN]]

    def _traced(self, crash: Crash) -> Crash:
        known = self._here.get(crash.program)
        if known is None or known.how != crash.how or abs(known.at - crash.at) > SAME:
            known = self._here[crash.program] = traced(self._settings, crash)
        return known

    def _ask(self, node: str) -> None:
        now = time.monotonic()
        if now - self._asked.get(node, -EVERY) < EVERY or len(self._tasks) > 3:
            return
        if len(self._asked) >= KEPT:
            self._asked.clear()
            self._far.clear()
        self._asked[node] = now
        task = asyncio.create_task(self._hear(node), name=f"crashes of {node}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hear(self, node: str) -> None:
        settings, request = self._settings, Request(Verb.CRASHES, (node,))
        try:
            answers = await ask(self._endpoint, settings.name, request, ANSWERED, HEARD, hosts=settings.constants.HOSTS)
        except RedisError as error:
            log.debug("how %s ended elsewhere is not known: %s", node, error)
            return
        told = [crash_in(result.text) for answer in answers for result in answer.results]
        self._far[node] = [crash for crash in told if crash is not None]
