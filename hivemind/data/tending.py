"""The kept topics that one process sends: announced before their first message, and again as long as it sends."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from ..bell import Bell
from ..bus.bus import Bus
from ..cancelling import end
from ..errors import RedisError
from ..retention import Tier
from ..tolerance import tolerated
from .caretaker import Caretaker, Terms
from .entries import KeptTopic, idle_groups
from .kept import Kept

TEND = 15.0  #: seconds, about, between two looks at what is sent


class Tending:
    """Keeps topics known, whatever Redis loses, and their streams short. ``anew`` are those whose stream was removed
    since they were announced. What is tolerated meanwhile stands in ``log``.
    """

    def __init__(self, bus: Bus, log: logging.Logger) -> None:
        self.kept = Kept(bus.streams)
        self.anew: set[str] = set()
        self._bus, self._log = bus, log
        self._news = Bell()

    async def announce(self, topic: str, durable: bool, keep: str | None, tier: Tier) -> KeptTopic:
        """Enter a topic, and send it as it is kept from now on, confirmed at ``tier``. Raises RedisError."""
        is_anew = topic in self.anew
        self.anew.discard(topic)
        try:
            found = await self.kept.announce(topic, durable, keep, is_anew=is_anew)
        except RedisError:
            self.anew |= {topic} if is_anew else set()
            raise
        self._bus.keep(topic, found.retention, tier, self._removed)
        return found

    def _removed(self, topic: str) -> None:
        """Something was appended to a stream that had been removed: the groups of all who want it are made anew."""
        self.anew.add(topic)
        self._news.ring()

    async def run(self, renew: Callable[[], Awaitable[Sequence[KeptTopic]]], retire: float) -> None:
        """Tend for ever what ``renew`` announces again, and, as soon as there is something, look after what has not
        been seen for ``retire`` seconds.
        """
        caretaker: asyncio.Task[None] | None = None
        terms = Terms(retire)
        try:
            while True:
                await self._news.wait(TEND * random.uniform(0.8, 1.2))
                with tolerated(self._log, "kept topics"):
                    if (found := await renew()) and caretaker is None:
                        looking = Caretaker(self._bus.streams, terms, asyncio.get_running_loop().time)
                        caretaker = asyncio.create_task(looking.run(), name="caretaker")
                    await self._trim(found)
        finally:
            await end(caretaker)

    async def _trim(self, topics: Sequence[KeptTopic]) -> None:
        readings = await self.kept.readings() if topics else []
        for one in topics:
            while await self._bus.streams.trim(one.topic, one.retention, idle_groups(one.topic, readings)):
                pass
