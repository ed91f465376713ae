"""Which topics are kept in streams, and who reads them: what a hive remembers of durable delivery.

Whoever announces a topic enters it, then reads who wants it, and makes their groups before it appends anything. Whoever
reads enters that, then reads which topics there are, and makes its groups on those. One of the two sees the other, so
that a new topic's first message is kept for everybody, whoever is down.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from ..bus.commands import Commands
from ..bus.streams import Streams
from ..errors import ConfigurationError, RedisRefused
from ..since import check_since
from ..topics import Names, check_name, check_pattern, is_topic, matches

log = logging.getLogger("hivemind.durable")

KEPT = "kept"  #: the kind of notice that tells of a new topic that is kept


@dataclass(frozen=True, slots=True)
class KeptTopic:
    """A topic that is kept since ``at``, in unix milliseconds by Redis's clock."""

    topic: str
    at: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A group that reads what matches ``pattern``, since ``at``; ``since`` says where it begins on older topics."""

    group: str
    pattern: str
    since: str
    at: int


class Kept:
    """Reads and writes what a hive remembers of durable delivery. All methods raise RedisError."""

    def __init__(self, commands: Commands, streams: Streams, names: Names) -> None:
        self._commands, self._streams, self._names = commands, streams, names

    async def announce(self, topic: str) -> None:
        """Enter a topic that is kept, and make the groups of all who want it; before the first message on it."""
        if await self._enter(self._names.kept(), topic, {}):
            await self._commands.execute("PUBLISH", self._names.control(KEPT), orjson.dumps({"topic": topic}))
        (kept,) = [one for one in await self.topics() if one.topic == topic]
        await self.join([kept], [one for one in await self.readings() if matches(one.pattern, topic)])

    async def read(self, group: str, pattern: str, since: str, known: Collection[str] = ()) -> list[str]:
        """Enter that a group reads a pattern, and make the group on all topics that match, but for those that are
        ``known`` to have it; return those on which it was made.
        """
        await self._enter(self._names.readings(), f"{group} {pattern}", {"since": since})
        mine = [one for one in await self.readings() if (one.group, one.pattern) == (group, pattern)]
        topics = [one for one in await self.topics() if one.topic not in known and matches(pattern, one.topic)]
        await self.join(topics, mine)
        return [one.topic for one in topics]

    async def join(self, topics: Iterable[KeptTopic], readings: Iterable[Reading]) -> None:
        """Make the groups of ``readings`` on ``topics``, where they are not."""
        wanted = list(readings)
        for kept in topics:
            for reading in wanted:
                try:
                    start = "0" if kept.at >= reading.at else await self._streams.start(kept.topic, reading.since)
                    await self._streams.join(kept.topic, reading.group, start)
                except RedisRefused as error:
                    log.error("group %s cannot read %s: %s", reading.group, kept.topic, error)

    async def topics(self) -> list[KeptTopic]:
        """All topics that are kept, by name."""
        found = await self._entries(self._names.kept())
        return sorted((KeptTopic(name, at) for name, _, at in found if is_topic(name)), key=lambda one: one.topic)

    async def readings(self) -> list[Reading]:
        """All groups that read."""
        return [
            Reading(group, pattern, str(said.get("since")), at)
            for name, said, at in await self._entries(self._names.readings())
            for group, _, pattern in [name.partition(" ")]
            if _is_reading(group, pattern, said.get("since"))
        ]

    async def _enter(self, key: str, name: str, said: dict[str, Any]) -> bool:
        """Enter once, with the time; False if it is there."""
        seconds, micros = await self._commands.execute("TIME")
        at = int(seconds) * 1000 + int(micros) // 1000
        mine = orjson.dumps(said | {"at": at})
        is_new = bool(await self._commands.execute("HSETNX", key, name, mine))
        if is_new or _object(await self._commands.execute("HGET", key, name) or b""):
            return is_new
        await self._commands.execute("HSET", key, name, mine)  # somebody wrote garbage there
        return True

    async def _entries(self, key: str) -> list[tuple[str, dict[str, Any], int]]:
        flat = await self._commands.execute("HGETALL", key)
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return [(name.decode(errors="replace"), said, said["at"]) for name, raw in pairs if (said := _object(raw))]


def _object(raw: bytes) -> dict[str, Any]:
    """An entry of ours; what is none is empty."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) and isinstance(value.get("at"), int) else {}


def _is_reading(group: str, pattern: str, since: object) -> bool:
    try:
        check_since(since)
        check_name(group, "group")
        check_pattern(pattern)
    except ConfigurationError:
        return False
    return True
