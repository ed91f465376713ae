"""One group of readers, as one life takes part in it: which topics it reads, what it holds, whom it inherits from."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from ..bell import Bell
from ..bus.bus import Bus
from ..bus.deliveries import Deliveries, Delivery, Retrying
from ..bus.group_reader import GroupReader
from ..bus.streams import Home, Reader, Streams
from ..cancelling import end
from ..errors import RedisError
from .heirs import Heirs
from .kept import KEPT, Kept

log = logging.getLogger("hivemind.durable")

LOOK = 2.0  #: seconds between two looks at who else reads
CHECK = 15.0  #: seconds between two looks whether there are new topics, though nobody told
ROOM = 2000  #: messages that one life holds of a group
PORTION = 1000  #: messages that are taken over at once


class Group:
    """Reads what ``wanted`` says, pattern by pattern with where each begins, and gives ``hand`` every message.

    Handle it and tell ``deliveries``. ``topics`` are those that are read.
    """

    def __init__(
        self,
        bus: Bus,
        group: str,
        wanted: Mapping[str, str],
        retrying: Retrying,
        hand: Callable[[Delivery], None],
        lease: float,
    ) -> None:
        self.name, self.wanted = group, wanted
        self.topics: list[str] = []
        self._bus = bus
        me = Reader(group, bus.instance, bus.incarnation)
        streams = Streams(bus.commands, bus.functions, bus.names)
        home = Home(bus.endpoint, f"hm:{bus.instance}:read", bus.names, bus.functions)
        self.deliveries = Deliveries(streams, me, retrying, hand)
        self._me, self._streams = me, streams
        self._reader = GroupReader(home, bus.commands, me, self.deliveries.came)
        self._reader.has_room = lambda: len(self.deliveries) < ROOM
        self._reader.on_gone = self._made_anew
        self.deliveries.on_fewer = self._reader.room.ring
        self._kept = Kept(bus.commands, streams, bus.names)
        self._heirs = Heirs(bus.commands, bus.names, me, lease)
        self._news = Bell()
        self._gaps = 0
        self._checked = 0.0
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read. Raises RedisError when Redis does not do its part; then call it again."""
        await self._find_topics()
        before = await self._heirs.enter()
        if before is not None:
            await self._take_over(before)
        self._bus.live.listen(self._bus.names.control(KEPT), self._heard)
        self.deliveries.start()
        self._reader.start()
        await self._reader.add(self.topics)
        self._watching = asyncio.create_task(self._watch(), name=f"group {self.name}")

    async def stop_reading(self) -> None:
        """Take nothing more; what is held can still be handled."""
        self._bus.live.unlisten(self._bus.names.control(KEPT), self._heard)
        await end(self._watching)
        await self._reader.aclose()

    async def aclose(self) -> None:
        """Tell Redis what was handled, and say goodbye: others take over the rest. After ``stop_reading``."""
        if not self._bus.outbox.link.is_up:
            await self.deliveries.aclose()
            return
        await self.deliveries.settled()
        await self.deliveries.aclose()
        await self._heirs.leave()

    def _heard(self, body: bytes) -> None:  # noqa: ARG002 - the topics are looked up
        self._news.ring()

    async def _find_topics(self) -> list[str]:
        """Enter what we read, and return the topics that are new to us."""
        before = len(self.topics)
        for pattern, since in self.wanted.items():
            self.topics += await self._kept.read(self.name, pattern, since, self.topics)
        self._checked = time.monotonic()
        return self.topics[before:]

    async def _made_anew(self, topics: object) -> None:  # noqa: ARG002 - all are looked at
        """Streams or groups were removed, and with them what was in them: begin with what is there now."""
        log.error("group %s: streams or groups were removed; it goes on with what is there", self.name)
        await self._find_topics()
        for topic in self.topics:
            await self._streams.join(topic, self.name, "0")

    async def _watch(self) -> None:
        while True:
            is_news = await self._news.wait(LOOK)
            try:
                await self._look(is_news or time.monotonic() - self._checked > CHECK)
            except RedisError as error:
                log.debug("group %s: %s", self.name, error)

    async def _look(self, is_news: bool) -> None:
        if is_news and (new := await self._find_topics()):
            await self._reader.add(new)
        if self._gaps != (gaps := self._bus.outbox.link.gaps):
            self._gaps = gaps
            self._heirs.start_afresh()
        for ended in await self._heirs.ended():
            await self._take_over(ended)

    async def _take_over(self, ended: Reader) -> None:
        count = 0
        for topic in self.topics:
            while held := await self._streams.take_over(topic, self._me, ended, PORTION):
                self.deliveries.inherit(topic, held)
                count += len(held)
        await self._heirs.forget(ended)
        if count:
            log.warning("group %s: %d message(s) of %s are taken over", self.name, count, ended.instance)
