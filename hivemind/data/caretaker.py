"""Looks after what retires: groups whose node left the configuration, topics that nobody sends or reads, senders and
readers that died for good. So that a hive has as many keys after a year as in its first week.

One caretaker of a hive looks, the others wait until it is gone. What it removes is always something that has not
changed for a while by its own clock: after an outage, or when Redis's clock was set, everybody has time to come back.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..bus.commands import Argument, checked
from ..bus.streams import Streams
from ..bus.translation import is_forbidden
from ..english import duration
from ..errors import RedisError
from ..tolerance import tolerated
from ..topics import is_instance, matches
from .entries import UNSEEN, KeptTopic, Reading, reading_from, topic_from
from .kept import FRESH, Kept

log = logging.getLogger("hivemind.durable")

LOOK = 60.0  #: seconds between two looks
GRACE = 600.0  #: seconds for which nothing may have changed, by our own clock
LEASE = 3  #: looks after which another takes the duty over
AT_ONCE = 500  #: instances that are asked about in one round trip


@dataclass(frozen=True, slots=True)
class Terms:
    """After how many seconds unseen something retires, after as many again it is removed; and the times above."""

    retire: float
    grace: float = GRACE
    look: float = LOOK


@dataclass(frozen=True, slots=True)
class Rival:
    """Who has the duty, when his time ends as Redis says, and since when we see that."""

    who: bytes
    ends: int
    since: float


class Caretaker:
    """Looks after one hive, if nobody else does. All methods but ``run`` raise RedisError."""

    def __init__(self, streams: Streams, terms: Terms, clock: Callable[[], float] | None = None) -> None:
        self._commands, self._streams, self._names = streams.commands, streams, streams.names
        self._terms, self._clock = terms, clock or time.monotonic
        self._kept = Kept(streams)
        self._me = secrets.token_hex(8)
        self._rival: Rival | None = None
        self._known: dict[tuple[str, str, bytes], float] = {}  # since when an entry is as it is
        self._seen: set[tuple[str, str, bytes]] = set()

    async def run(self) -> None:
        """Look for ever; who may not, in a hive that is secured, leaves it to those who may."""
        while True:
            with tolerated(log, "what retires is looked after later"):
                try:
                    await self.look()
                except RedisError as error:
                    if is_forbidden(error):
                        return
                    raise
            await asyncio.sleep(self._terms.look)

    async def look(self) -> bool:
        """Look once; False if that is another's duty."""
        if not await self._is_ours():
            self._known.clear()
            return False
        self._seen.clear()
        await self._look_at_readings()
        topics = await self._look_at_topics()
        await self._look_at_instances(topics)
        self._known = {entry: since for entry, since in self._known.items() if entry in self._seen}
        return True

    async def _is_ours(self) -> bool:
        """Whether this is our duty: nobody has it, or whoever had it did not renew that in its time, by our clock."""
        limit, rival = LEASE * self._terms.look, self._rival
        is_silent = rival is not None and self._clock() - rival.since >= limit
        whom: tuple[Argument, ...] = (rival.who, rival.ends) if rival is not None and is_silent else ("", 0)
        arguments = (self._me, int(limit * 1000), *whom)
        said = await self._streams.functions.call("hold", (self._names.caretaker(),), arguments)
        if said[0]:
            self._rival = None
        elif rival is None or (rival.who, rival.ends) != (said[1], said[2]):
            self._rival = Rival(said[1], said[2], self._clock())
        return bool(said[0])

    def _rests(self, key: str, name: str, raw: bytes) -> bool:
        """Whether an entry has not changed for as long as we have to know that."""
        entry = (key, name, raw)
        self._seen.add(entry)
        return self._clock() - self._known.setdefault(entry, self._clock()) >= self._terms.grace

    # -- groups

    async def _look_at_readings(self) -> None:
        key, now, topics = self._names.readings(), await self._kept.now(), await self._kept.topics()
        await self._enter_strangers(topics, now)
        found = await self._kept.entries(key)
        readings = {name: one for name, raw in found.items() if (one := reading_from(name, raw)) is not None}
        for name, one in readings.items():
            term = self._terms.retire * 1000
            theirs = [each.topic for each in topics if matches(one.pattern, each.topic)]
            if not one.seen:
                await self._streams.change(key, {name: (found[name], one.entry(seen=now))})
            if not one.seen or await self._acts(name, one, found[name], theirs, now):
                continue
            if not self._rests(key, name, found[name]) or now - one.seen < term:
                continue
            if not one.retired:
                if await self._streams.change(key, {name: (found[name], one.entry(retired=now))}):
                    log.warning("%s, and holds nothing back any more", _unseen(one, now))
            elif now - one.retired >= term:
                others = [each for each in readings.values() if each.group == one.group and each is not one]
                await self._disband(one, theirs, others)
                if await self._streams.change(key, {name: (found[name], b"")}):
                    log.warning("%s, and is removed", _unseen(one, now))

    async def _enter_strangers(self, topics: Sequence[KeptTopic], now: int) -> None:
        """Groups that another program made retire as all others: from now on they are known."""
        groups = {one.topic: await self._streams.groups(one.topic) for one in topics}
        readings = await self._kept.readings()  # afterwards: a group of ours is there later than its entry
        for topic, there in groups.items():
            known = {one.group for one in readings if matches(one.pattern, topic)}
            for group in there - known:
                name, entry = f"{group} {topic}", Reading(group, topic, "new", now, group, now).entry()
                if reading_from(name, entry) is not None:
                    await self._commands.execute("HSETNX", self._names.readings(), name, entry)

    async def _acts(self, name: str, one: Reading, raw: bytes, topics: Iterable[str], now: int) -> bool:
        """Whether a reader asked for something lately, though it does not say that it is there: an older version, or a
        program of another kind. Enters when that was.
        """
        if now - one.seen < min(self._terms.retire * 1000, UNSEEN / 4):
            return False
        found = [idle for topic in topics if (idle := await self._streams.idle(topic, one.group)) is not None]
        if not found or min(found) >= self._terms.retire:
            return False
        seen = now - int(min(found) * 1000)
        if seen - one.seen >= FRESH:
            await self._streams.change(self._names.readings(), {name: (raw, one.entry(seen=seen, retired=0))})
        return True

    async def _disband(self, one: Reading, topics: Iterable[str], others: Iterable[Reading]) -> None:
        patterns = [each.pattern for each in others]
        for topic in topics:
            if not any(matches(pattern, topic) for pattern in patterns):
                await self._streams.disband(topic, one.group)

    # -- topics

    async def _look_at_topics(self) -> list[str]:
        """Remove those that are empty, and that nobody sends or reads; return what is left."""
        key, now = self._names.kept(), await self._kept.now()
        readings = await self._kept.readings()
        left = []
        for name, raw in (await self._kept.entries(key)).items():
            one = topic_from(name, raw)
            if one is None:
                continue
            is_read = any(matches(reading.pattern, one.topic) for reading in readings)
            is_old = self._rests(key, name, raw) and now - one.seen >= self._terms.retire * 1000
            if is_read or not is_old or not await self._abandon(one):
                left.append(one.topic)
            elif await self._streams.change(key, {name: (raw, b"")}):
                log.info("nobody sends or reads %s any more, and it was empty: it is removed", name)
        return left

    async def _abandon(self, one: KeptTopic) -> bool:
        seconds = one.retention.seconds
        return await self._streams.abandon(one.topic, 2 * self._terms.retire if seconds is None else seconds)

    # -- senders and readers

    async def _look_at_instances(self, topics: Iterable[str]) -> None:
        """Forget what was remembered of instances that are not registered any more."""
        hashes = [self._names.readers(), *map(self._names.producers, topics)]
        for key in hashes:
            found = await self._kept.entries(key)
            resting = {name: raw for name, raw in found.items() if self._rests(key, name, raw)}
            gone = await self._gone({_instance(name) for name in resting})
            fields = {name: (raw, b"") for name, raw in resting.items() if _instance(name) in gone}
            await self._streams.change(key, fields)

    async def _gone(self, instances: set[str]) -> set[str]:
        """Those that have no lease, and had none for a day."""
        asked = sorted(filter(is_instance, instances))
        gone: set[str] = set()
        for start in range(0, len(asked), AT_ONCE):
            part = asked[start : start + AT_ONCE]
            commands = [("EXISTS", self._names.node(one), self._names.epoch(one)) for one in part]
            replies = await self._commands.pipeline(commands)
            gone |= {one for one, there in zip(part, replies, strict=True) if not checked(there)}
        return gone


def _instance(field: str) -> str:
    """Whose a field is: "shop.0", "taken:shop:shop.0", "shop shop.0"."""
    return field.rpartition(":")[2].rpartition(" ")[2]


def _unseen(one: Reading, now: int) -> str:
    since = duration((now - one.seen) / 1000)
    return f"group {one.group}, which read {one.pattern}, was not seen for {since}"
