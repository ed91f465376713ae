"""Sending by who declares nothing, such as a client or a tool: on each topic in the way in which the hive keeps it."""

from __future__ import annotations

from ..bus.bus import Bus
from ..bus.streams import Streams
from .kept import Kept


class AsKept:
    """Looks up how topics are kept, and lets a bus send on them like that. All methods raise RedisError."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._kept = Kept(bus.commands, Streams(bus.commands, bus.functions, bus.names), bus.names)
        self._prepared: dict[str, bool] = {}

    async def prepare(self, topic: str) -> bool:
        """Before the first message on ``topic``: from then on it is appended, if somebody has announced that the topic
        is kept. Return whether it is.
        """
        if topic not in self._prepared:
            found = [one for one in await self._kept.topics() if one.topic == topic]
            for one in found:
                kept = await self._kept.announce(topic, one.durable, one.keep)
                self._bus.keep(topic, kept.retention)
            self._prepared[topic] = bool(found)
        return self._prepared[topic]
