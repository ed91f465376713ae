"""Which topics are kept in streams, and who reads them: what a hive remembers of durable delivery.

Whoever announces a topic enters it, then reads who wants it, and makes their groups before it appends anything. Whoever
reads enters that, then reads which topics there are, and makes its groups on those. One of the two sees the other, so
that a new topic's first message is kept for everybody, whoever is down.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import orjson

from ..bus.commands import pairs_in
from ..bus.streams import Streams
from ..errors import RedisRefused
from ..topics import matches
from .entries import KeptTopic, Reading, reading_from, topic_from

log = logging.getLogger("hivemind.durable")

KEPT = "kept"  #: the kind of notice that tells of a new topic that is kept


WRONG = "WRONGTYPE"  # what Redis says where something else lies at a key
FRESH = 5_000  #: milliseconds for which an entry need not be written again
SETTLED = 600_000  #: milliseconds for which the word of a durable sender holds against one that only keeps


class Kept:
    """Reads and writes what a hive remembers of durable delivery. All methods raise RedisError."""

    def __init__(self, streams: Streams) -> None:
        self._commands, self._streams, self._names = streams.commands, streams, streams.names
        self._entered: dict[str, int] = {}  # when we entered readings: also if Redis loses them we were there before

    async def announce(
        self, topic: str, durable: bool = True, keep: str | None = None, *, is_anew: bool = False
    ) -> KeptTopic:
        """Enter a topic that is kept, and make the groups of all who want it; before the first message on it, and again
        from time to time. Return how it is kept: durably, if another sender says so.

        ``is_anew``: its stream was removed, and what is in it has been sent since, so that all groups begin with that.
        """
        key, now = self._names.kept(), await self.now()
        mine = KeptTopic(topic, now, durable, keep, now)
        raw, is_new = await self._enter(key, topic, mine.entry())
        before = topic_from(topic, raw)
        if await self._streams.ensure(topic) and not is_new and before is not None:
            is_anew = True
        if is_anew:
            log.error("the stream of %s was removed, with all that was in it; it is made anew and goes on", topic)
        kept = _agreed(mine, before, is_anew=is_anew)
        if kept is not before:
            await self._streams.change(key, {topic: (raw, kept.entry())})
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
        key, now, name = self._names.readings(), await self.now(), f"{group} {pattern}"
        mine = Reading(group, pattern, since, self._entered.get(name, now), node or group, now)
        raw, is_new = await self._enter(key, name, mine.entry())
        before = reading_from(name, raw)
        if before is None or (not is_new and (now - before.seen >= FRESH or before.retired)):
            mine = mine if before is None else replace(mine, at=before.at)
            await self._streams.change(key, {name: (raw, mine.entry())})
        elif not is_new:
            mine = before
        self._entered[name] = mine.at
        topics = [one for one in await self.topics() if one.topic not in known and matches(pattern, one.topic)]
        await self.join(topics, [mine])
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
        found = [topic_from(*one) for one in (await self.entries(self._names.kept())).items()]
        return sorted((one for one in found if one is not None), key=lambda one: one.topic)

    async def readings(self) -> list[Reading]:
        """All groups that read."""
        found = [reading_from(*one) for one in (await self.entries(self._names.readings())).items()]
        return [one for one in found if one is not None]

    async def forget(self, group: str) -> None:
        """Remove a group that nobody reads with, and all that is remembered of it: nothing is kept for it any more."""
        key = self._names.readings()
        found = {name: raw for name, raw in (await self.entries(key)).items() if name.partition(" ")[0] == group}
        patterns = [name.partition(" ")[2] for name in found]
        topics = [one.topic for one in await self.topics() if any(matches(each, one.topic) for each in patterns)]
        for _ in range(2):  # a sender may make it anew as long as it is entered
            for topic in topics:
                await self._streams.disband(topic, group)
            await self._streams.change(key, {name: (raw, b"") for name, raw in found.items()})

    async def see(self, nodes: Collection[str], reads: Mapping[str, Collection[tuple[str, str]]]) -> None:
        """Say of all groups in which one of ``nodes`` reads that it is to be there, whether it runs or not; of those in
        ``reads`` it is known which groups and patterns that are.
        """
        now, key = await self.now(), self._names.readings()
        for name, raw in (await self.entries(key)).items():
            one = reading_from(name, raw)
            if one is None or one.node not in nodes or now - one.seen < FRESH:
                continue
            if one.node not in reads or (one.group, one.pattern) in reads[one.node]:
                await self._streams.change(key, {name: (raw, one.entry(seen=now, retired=0))})

    async def entries(self, key: str) -> dict[str, bytes]:
        """A hash as it lies there; empty if it is none."""
        try:
            found = await self._commands.execute("HGETALL", key)
        except RedisRefused as error:
            if WRONG not in str(error):
                raise
            return {}
        return {name.decode(errors="replace"): raw for name, raw in pairs_in(found).items()}

    async def now(self) -> int:
        """Redis's time in unix milliseconds."""
        seconds, micros = await self._commands.execute("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def _enter(self, key: str, name: str, mine: bytes) -> tuple[bytes, bool]:
        """Enter what is not there; return what is there then, and whether it is new."""
        try:
            if (there := await self._commands.execute("HGET", key, name)) is not None:
                return there, False  # and nothing is written: a Redis without memory would refuse that
            is_new = bool(await self._commands.execute("HSETNX", key, name, mine))
        except RedisRefused as error:
            if WRONG not in str(error):
                raise
            log.error("%s was no hash, and is made anew", key)
            await self._commands.execute("DEL", key)
            return await self._enter(key, name, mine)
        return await self._commands.execute("HGET", key, name) or b"", is_new


def _agreed(mine: KeptTopic, before: KeptTopic | None, *, is_anew: bool) -> KeptTopic:
    """How a topic is kept, after what was entered ``before`` and what a sender says."""
    if before is None or is_anew:
        return mine
    if before.durable and not mine.durable and mine.seen - before.seen < SETTLED:
        return before
    if mine.seen - before.seen < FRESH and (before.durable, before.keep) == (mine.durable, mine.keep):
        return before
    return replace(mine, at=before.at)
