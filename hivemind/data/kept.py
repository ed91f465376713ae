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
from ..message import is_count
from ..retention import Retention, check_keep
from ..since import check_since
from ..topics import Names, check_name, check_pattern, is_topic, matches

log = logging.getLogger("hivemind.durable")

KEPT = "kept"  #: the kind of notice that tells of a new topic that is kept


WRONG = "WRONGTYPE"  # what Redis says where something else lies at a key
FRESH = 5_000  #: milliseconds for which an entry need not be written again
SETTLED = 600_000  #: milliseconds for which the word of a durable sender holds against one that only keeps


@dataclass(frozen=True, slots=True)
class KeptTopic:
    """A topic that is kept since ``at``; a sender of it was last ``seen`` then. Times are unix milliseconds by Redis's
    clock. ``durable`` and ``keep`` are the words of the sender.
    """

    topic: str
    at: int
    durable: bool = True
    keep: str | None = None
    seen: int = 0

    @property
    def retention(self) -> Retention:
        """How much of it is kept."""
        return Retention.of(self.durable, self.keep)


@dataclass(frozen=True, slots=True)
class Reading:
    """A group that reads what matches ``pattern``, since ``at``; ``since`` says where it begins on older topics.

    ``node`` is who reads; it was last ``seen``, alive or at least in a configuration, then. Since ``retired``, unless
    that is 0, the group holds nothing back any more.
    """

    group: str
    pattern: str
    since: str
    at: int
    node: str = ""
    seen: int = 0
    retired: int = 0


class Kept:
    """Reads and writes what a hive remembers of durable delivery. All methods raise RedisError."""

    def __init__(self, commands: Commands, streams: Streams, names: Names) -> None:
        self._commands, self._streams, self._names = commands, streams, names

    async def announce(
        self, topic: str, durable: bool = True, keep: str | None = None, *, is_anew: bool = False
    ) -> KeptTopic:
        """Enter a topic that is kept, and make the groups of all who want it; before the first message on it, and again
        from time to time. Return how it is kept: durably, if another sender says so.

        ``is_anew``: its stream was removed, and what is in it has been sent since, so that all groups begin with that.
        """
        mine = {"durable": durable, "keep": keep}
        now = await self._now()
        found, is_new = await self._enter(self._names.kept(), topic, mine | {"at": now, "seen": now})
        kept = _kept(topic, found)
        if await self._streams.ensure(topic) and not is_new:
            is_anew = True
        if is_anew:
            log.error("the stream of %s was removed, with all that was in it; it is made anew and goes on", topic)
        is_ruled = kept.durable and not durable and now - kept.seen < SETTLED
        if is_anew or not (is_ruled or (now - kept.seen < FRESH and (kept.durable, kept.keep) == (durable, keep))):
            kept = KeptTopic(topic, now if is_anew else kept.at, durable, keep, now)
            await self._write(self._names.kept(), topic, mine | {"at": kept.at, "seen": now})
        if is_new:
            await self._commands.execute("PUBLISH", self._names.control(KEPT), orjson.dumps({"topic": topic}))
        await self.join([kept], [one for one in await self.readings() if matches(one.pattern, topic)])
        return kept

    async def read(
        self, group: str, pattern: str, since: str, known: Collection[str] = (), *, node: str = ""
    ) -> list[str]:
        """Enter that a group reads a pattern, or that it still does, and make the group on all topics that match, but
        for those that are ``known`` to have it; return those on which it was made.
        """
        now, name = await self._now(), f"{group} {pattern}"
        mine = {"since": since, "node": node or group, "seen": now}
        found, is_new = await self._enter(self._names.readings(), name, mine | {"at": now})
        before = _reading(name, found) or Reading(group, pattern, since, now)
        if not is_new and (now - before.seen >= FRESH or before.retired):
            await self._write(self._names.readings(), name, mine | {"at": before.at})
        topics = [one for one in await self.topics() if one.topic not in known and matches(pattern, one.topic)]
        await self.join(topics, [Reading(group, pattern, since, before.at)])
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
        return sorted((_kept(name, said) for name, said in found if is_topic(name)), key=lambda one: one.topic)

    async def readings(self) -> list[Reading]:
        """All groups that read."""
        found = await self._entries(self._names.readings())
        return [one for name, said in found if (one := _reading(name, said)) is not None]

    async def _enter(self, key: str, name: str, mine: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Enter what is not there; return what is there then, and whether it is new."""
        try:
            is_new = bool(await self._commands.execute("HSETNX", key, name, orjson.dumps(mine)))
        except RedisRefused as error:
            if WRONG not in str(error):
                raise
            log.error("%s was no hash, and is made anew", key)
            await self._commands.execute("DEL", key)
            return await self._enter(key, name, mine)
        found = _object(await self._commands.execute("HGET", key, name) or b"")
        if found:
            return found, is_new
        await self._write(key, name, mine)  # somebody wrote garbage there
        return mine, True

    async def _write(self, key: str, name: str, said: dict[str, Any]) -> None:
        await self._commands.execute("HSET", key, name, orjson.dumps(said))

    async def _entries(self, key: str) -> list[tuple[str, dict[str, Any]]]:
        try:
            flat = await self._commands.execute("HGETALL", key)
        except RedisRefused as error:
            if WRONG not in str(error):
                raise
            return []
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return [(name.decode(errors="replace"), said) for name, raw in pairs if (said := _object(raw))]

    async def _now(self) -> int:
        seconds, micros = await self._commands.execute("TIME")
        return int(seconds) * 1000 + int(micros) // 1000


def _object(raw: bytes) -> dict[str, Any]:
    """An entry of ours; what is none is empty."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) and is_count(value.get("at")) else {}


def _time(said: dict[str, Any], name: str) -> int:
    value = said.get(name)
    return int(value) if value is not None and is_count(value) else 0


def _kept(topic: str, said: dict[str, Any]) -> KeptTopic:
    """What was entered of a topic; what does not say how it is kept is durable, as it was before one could say."""
    try:
        keep = None if said.get("keep") is None else check_keep(said["keep"])
    except ConfigurationError:
        keep = None
    durable = keep is None or said.get("durable") is not False
    return KeptTopic(topic, said["at"], durable, keep, _time(said, "seen") or said["at"])


def _reading(name: str, said: dict[str, Any]) -> Reading | None:
    group, _, pattern = name.partition(" ")
    node = said.get("node")
    try:
        since = check_since(said.get("since"))
        check_name(group, "group")
        check_pattern(pattern)
    except ConfigurationError:
        return None
    node = node if isinstance(node, str) and node else group
    return Reading(group, pattern, since, said["at"], node, _time(said, "seen") or said["at"], _time(said, "retired"))
