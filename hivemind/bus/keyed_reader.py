"""Reads, for one group, what is ordered by a key. All messages of a key that are under way are in one reader's hands.

A function of Redis reads in the group, and gives what belongs to a key that another reader has in hand to that one. A
reader draws what was given to it before it draws what is new, so that nothing passes what it has yet to hear of. Nobody
has to be told of a gift: what is new on a stream wakes all who read it, and whoever wakes draws. Whatever may have been
given to us in an answer that never came is asked for before anything else is drawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..errors import RedisRefused, TakenOver
from .commands import Argument
from .conversation import Conversation
from .deliveries import Deliveries
from .group_reader import COUNT, LATE, GroupReader
from .streams import Held, Home, Reader, Streams

LOOK = 2.0  #: seconds after which a reader draws though nothing seems to be new
HELD_UP = 0.05  #: seconds until a reader looks again whether another one has taken what waits for it


class KeyedReader(GroupReader):
    """Gives ``deliveries`` what comes on its topics; ``path`` says of a topic where its key lies."""

    def __init__(self, home: Home, streams: Streams, deliveries: Deliveries, path: Callable[[str], str]) -> None:
        super().__init__(home, streams, deliveries.reader, deliveries)
        self._deliveries, self._path = deliveries, path
        self._news: set[str] = set()
        self._lock = asyncio.Lock()  # what one call brought is entered before the next call is made

    async def add(self, topics: Iterable[str]) -> None:
        """Read these topics, too; their groups are there."""
        names = list(topics)
        self._news.update(names)
        await super().add(names)

    async def take_over(self, topic: str, ended: Reader, lease: int | None = None) -> list[Held]:
        """Take what a life held when it ended, with its keys; see ``Streams.take_over``. Raises RedisError."""
        async with self._lock:
            return await self._inherit(topic, ended, lease)

    async def _inherit(self, topic: str, ended: Reader, lease: int | None = None) -> list[Held]:
        was_behind, self._is_behind = self._is_behind, True
        held = await self._streams.take_over_keys(topic, self.reader, ended, self._path(topic), lease)
        self._is_behind = was_behind
        new = [one for one in held if not self._deliveries.has(topic, one.entry)]
        self._deliveries.inherit(topic, new)
        return new

    async def _read_on(self, conversation: Conversation) -> None:
        self._client = int(await conversation.ask("CLIENT", "ID", timeout=LATE))
        self._outage.back(self)
        while not self._closing:
            if not await self._room():
                continue
            try:
                is_held_up = await self._draw_news()
                if is_held_up:
                    await asyncio.sleep(HELD_UP)
                elif not self._news:
                    await self._wait_for_news(conversation)
            except RedisRefused as error:
                self._is_behind = True
                await self._refused(error)
                continue
            except TakenOver:
                self._deliveries.let_go()
                self._closing = True  # this life draws nothing any more: another one has a reader of its own
                return
            self._well()

    async def _draw_news(self) -> bool:
        """Draw from each topic that may have something; return whether somebody holds all others up."""
        is_held_up = False
        for topic in list(self._news):
            if (spare := self.spare()) > 0:
                async with self._lock:
                    is_held_up |= await self._draw(topic, min(COUNT, spare))
        return is_held_up

    async def _draw(self, topic: str, most: int) -> bool:
        if self._is_behind:
            for each in self._topics:
                await self._inherit(each, self.reader)
            self._is_behind = False
        self._is_behind = True
        drawn = await self._streams.draw(topic, self.reader, most, self._path(topic))
        self._is_behind = bool(drawn.lost)
        self._deliveries.tallies[topic].lost += drawn.lost
        self._topics[topic] = drawn.last
        if len(drawn.given) < most and not drawn.is_held_up:
            self._news.discard(topic)
        self._deliveries.came(topic, drawn.given)
        return drawn.is_held_up

    async def _wait_for_news(self, conversation: Conversation) -> None:
        """Return when there is something on a stream that nobody was given when we last drew, or after a while."""
        topics = list(self._topics)
        keys = [self._home.names.stream(topic) for topic in topics]
        after = [self._topics[topic] for topic in topics]
        words: tuple[Argument, ...] = ("XREAD", "COUNT", 1, "BLOCK", int(LOOK * 1000), "STREAMS", *keys, *after)
        self._is_reading = True
        try:
            reply = await conversation.ask(*words, timeout=LOOK + LATE)
        finally:
            self._is_reading = False
        pairs = reply.items() if isinstance(reply, dict) else reply or ()
        self._news.update([self._keys[key] for key, given in pairs if given] or topics)
