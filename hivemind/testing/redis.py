"""What a test does to Redis: it loses all, it says of a process that it ended, it delivers again."""

from __future__ import annotations

import itertools
from contextlib import suppress

import orjson

from ..bus.bus import Bus
from ..bus.commands import pairs_in
from ..bus.streams import Reader
from ..data.heirs import Heirs
from ..data.letters import Letter, Letters
from ..drills.cleaning import forget
from ..errors import HivemindError, RedisRefused
from ..message import Message

PORTION = 1000  #: entries of a stream that are looked at together
NOBODY = "crashed.0"  #: who held what is delivered again

_lives = itertools.count(1)


class Harm:
    """Does harm to one hive on a Redis that others may use as well. On the loop of ``bus``."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._commands, self._names = bus, bus.commands, bus.names

    async def forget(self) -> None:
        """Remove everything of the hive, in one step."""
        await forget(self._commands, self._names)

    async def write_at_once(self, is_so: bool) -> None:
        """Let the server write to its disk before it answers, or every second again; fakeredis cannot."""
        with suppress(RedisRefused):
            await self._commands.execute("CONFIG", "SET", "appendfsync", "always" if is_so else "everysec")

    async def letters(self, pattern: str) -> list[Letter]:
        """The dead letters of the topics that match."""
        shelves = Letters(self._bus.streams)
        there = [await shelves.shelf(topic) for topic in await shelves.topics(pattern)]
        return [one for shelf in there if shelf is not None async for found in shelves.read(shelf) for one in found]

    async def bury(self, instance: str) -> None:
        """Let the registry's entry name a process that is gone: as the system would say of who was killed."""
        key = self._names.node(instance)
        about = orjson.loads(await self._commands.execute("HGET", key, "about") or b"{}")
        if isinstance(about.get("process"), dict):
            about["process"]["started"] = -1.0
            await self._commands.execute("HSET", key, "about", orjson.dumps(about))

    async def redeliver(self, message: Message) -> None:
        """Give a message to a reader of each group who has ended, and let the living know. Raises HivemindError where
        nobody has acknowledged it yet.
        """
        stream = self._names.stream(message.topic)
        entry, groups = await self._entry(message), await self._groups(stream)
        dead = [Reader(group, NOBODY, next(_lives)) for group in groups]
        handled = [one for one in dead if not await self._is_held(stream, one.group, entry)]
        if not handled:
            raise HivemindError(f"{message.id}: nobody has acknowledged it yet")
        for one in handled:
            claim = ("XCLAIM", stream, one.group, one.consumer, 0, entry, "RETRYCOUNT", 1, "FORCE", "JUSTID")
            await self._commands.execute(*claim)
            await Heirs(self._commands, self._names, 0.0).leave(one)

    async def _entry(self, message: Message) -> bytes:
        """Where in the stream it is."""
        wanted, last = (message.sender, message.incarnation, message.sequence), "+"
        stream = self._names.stream(message.topic)
        while found := await self._commands.execute("XREVRANGE", stream, last, "-", "COUNT", PORTION):
            for entry, fields in found:
                said = orjson.loads(fields[1])
                if (said.get("n"), said.get("e"), said.get("s")) == wanted:
                    return bytes(entry)
            last = f"({found[-1][0].decode()}"
        raise HivemindError(f"{message.id} is in no stream: only durable messages are delivered again")

    async def _groups(self, stream: str) -> list[str]:
        found = await self._commands.execute("XINFO", "GROUPS", stream)
        return [pairs_in(one)[b"name"].decode() for one in found]

    async def _is_held(self, stream: str, group: str, entry: bytes) -> bool:
        return bool(await self._commands.execute("XPENDING", stream, group, entry, entry, 1))
