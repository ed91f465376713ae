"""Tells who sends by hand, once a topic, that durable readers get nothing of what goes there live."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from ..bell import Bell
from ..bus.bus import Bus
from ..data.kept import Kept
from ..english import listed
from ..errors import RedisError
from ..tolerance import tolerated
from ..topics import matches

log = logging.getLogger("hivemind.client")

LOOK = 20.0  #: seconds between two looks: readers may come later
PAUSE = 0.5  #: seconds between two looks at least, however many topics are new
PATIENCE = 1.0  #: seconds that a flush waits for a look
MOST = 10_000  #: topics that are looked at


class Unread:
    """Looks who reads durably what a client sends live, from ``run`` on; nobody waits for it but a ``flush``."""

    def __init__(self, bus: Bus, kept: Kept) -> None:
        self._bus, self._kept = bus, kept
        self._loop = asyncio.get_running_loop()
        self._bell = Bell()
        self._live: set[str] = set()
        self._looked: set[str] = set()
        self._told: set[str] = set()

    def saw(self, topic: str) -> None:
        """A message goes live on ``topic``. From any thread, one at a time."""
        if topic not in self._live and len(self._live) < MOST:
            self._live.add(topic)
            self._loop.call_soon_threadsafe(self._bell.ring)

    async def run(self) -> None:
        """Look at new topics, and at all from time to time."""
        while True:
            await self._bell.wait(LOOK)
            with tolerated(log, "who reads durably"):
                await self._look()
            await asyncio.sleep(PAUSE)

    async def look_at_new(self) -> None:
        """Look at topics that nobody has looked at: who flushes may end then."""
        if self._live - self._looked:
            with suppress(TimeoutError, RedisError):
                async with asyncio.timeout(PATIENCE):
                    await self._look()

    async def _look(self) -> None:
        topics = self._live.copy()
        readings = await self._kept.readings()
        if readings and topics - self._told:
            now, kept = await self._kept.now(), {one.topic for one in await self._kept.topics()}
            living = [one for one in readings if not one.is_retired(now)]
            for topic in sorted(topics - kept - self._told):
                if not self._bus.keeps(topic):
                    self._tell(topic, sorted({one.group for one in living if matches(one.pattern, topic)}))
        self._looked |= topics

    def _tell(self, topic: str, groups: list[str]) -> None:
        if not groups or topic in self._told:
            return
        self._told.add(topic)
        who, read, get = ("group", "reads", "gets") if len(groups) == 1 else ("groups", "read", "get")
        log.warning(
            "%s is not kept, but %s %s %s it durably, and %s nothing of what was sent here: "
            "write send(..., durable=True), or `hm pub --durable`",
            *(topic, who, listed(groups), read, get),
        )
