"""The directory of a hive: which topics there are, who resolves patterns against it, and how far each of them is.

It is used where ``PATTERNS`` is "resolved". Every topic has the version of the directory that added it; versions are
at least unix milliseconds, so they grow also when Redis has lost everything. Nothing is missed, because

- who resolves patterns enters them, then reads the topics, then says up to which version it has subscribed;
- who sends on a new topic adds it, then reads who resolves what, then waits until those have said so much.

One of the two sees the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import orjson

from ..bus.commands import Argument, Commands, checked, pairs_in
from ..bus.functions import Functions
from ..errors import InvalidName, RedisRefused, RedisUnavailable
from ..message import MAX_COUNT
from ..patterns import RESOLVED, SERVER, PatternTable
from ..topics import Names, check_pattern, is_topic
from .registry import TOPICS

CHUNK = 1000  #: topics that are added at once
AHEAD = 86_400_000  #: milliseconds by which a version may be ahead of Redis's clock: it may have been set back


class Directory:
    """Reads and writes the directory of one hive. All methods raise RedisError when Redis does not do its part."""

    def __init__(self, commands: Commands, functions: Functions, names: Names) -> None:
        self._commands, self._functions, self._names = commands, functions, names
        self._entries: dict[bytes, bytes] = {}
        self._resolvers: PatternTable[str] = PatternTable()

    async def mode(self) -> str:
        """How the hive keeps its patterns: SERVER or RESOLVED; "" when nobody has registered yet.

        Where somebody has written something else, it shows in whether there is a directory.
        """
        try:
            kept = await self._commands.execute("GET", self._names.patterns())
        except RedisRefused:  # it is no string
            kept = b""
        if kept is None:
            return ""
        if kept in (SERVER.encode(), RESOLVED.encode()):
            return str(kept.decode())
        return RESOLVED if await self._commands.execute("EXISTS", self._names.topics()) else SERVER

    # -- who sends

    async def announce(self, topics: Sequence[str], newest: int = 0, *, is_first: bool = False) -> int:
        """Add topics, and return the version in which all of them are; ``newest`` is the greatest that one knows.

        With ``is_first`` nothing was sent on them yet: then who hears of them counts losses from the first message.
        """
        arguments: tuple[Argument, ...] = (newest, self._names.control(TOPICS), "1" if is_first else "", *topics)
        return int(await self._functions.call("announce", (self._names.topics(),), arguments))

    async def missing(self, topics: Sequence[str]) -> list[str]:
        """Those of ``topics`` that are not there."""
        try:
            found = await self._commands.execute("ZMSCORE", self._names.topics(), *topics)
        except RedisRefused:  # somebody has put something else there, which announcing mends
            return list(topics)
        return [topic for topic, score in zip(topics, found, strict=True) if score is None or not _version(score)]

    async def resolvers(self, topics: Collection[str]) -> dict[str, set[str]]:
        """The instances that have patterns that match, for each of ``topics``."""
        entries = pairs_in(await self._commands.execute("HGETALL", self._names.resolvers()))
        if entries != self._entries:
            self._entries, self._resolvers = entries, _table(entries)
        return {topic: set(self._resolvers.of(topic)) for topic in topics}

    async def reported(self, instances: Sequence[str]) -> dict[str, int]:
        """Up to which version each of ``instances`` has subscribed; those that are gone or dead are left out.

        Raises RedisUnavailable if the directory itself is gone: then nobody can be said to be.
        """
        alive = [("EXISTS", self._names.node(instance)) for instance in instances]
        replies = await self._commands.pipeline(
            [("HMGET", self._names.resolved(), *instances), ("EXISTS", self._names.topics()), *alive]
        )
        said, kept, *live = map(checked, replies)
        if not kept:
            raise RedisUnavailable("Redis has lost its data")
        found = zip(instances, said, live, strict=True)
        return {name: _version(version) for name, version, lives in found if version is not None and lives}

    # -- who resolves

    async def topics(self, since: int = 0) -> dict[str, int]:
        """The topics that were added after version ``since``, each with its version."""
        asked = ("ZRANGEBYSCORE", self._names.topics(), f"({since}", "+inf", "WITHSCORES")
        now, found = map(checked, await self._commands.pipeline([("TIME",), asked]))
        limit = int(now[0]) * 1000 + AHEAD
        pairs = {topic.decode(errors="replace"): _version(version, limit) for topic, version in pairs_in(found).items()}
        return {topic: version for topic, version in pairs.items() if is_topic(topic)}

    async def report(
        self, instance: str, incarnation: int, version: int, patterns: Sequence[str] | None = None
    ) -> bool:
        """Say up to which ``version`` an instance has subscribed, and with ``patterns`` what it resolves.

        False, and nothing is written, if this life is not registered, or what it resolves is not known.
        """
        names = self._names
        entry = b"" if patterns is None else orjson.dumps({"incarnation": incarnation, "patterns": patterns})
        keys = (names.node(instance), names.resolvers(), names.resolved(), names.topics())
        return bool(await self._functions.call("resolve", keys, (instance, incarnation, version, entry)))


def _table(entries: Mapping[bytes, bytes]) -> PatternTable[str]:
    table: PatternTable[str] = PatternTable()
    for instance, entry in entries.items():
        for pattern in _patterns(entry):
            table.add(pattern, instance.decode(errors="replace"))
    return table


def _patterns(entry: bytes) -> list[str]:
    try:
        return [check_pattern(pattern) for pattern in orjson.loads(entry)["patterns"]]
    except (ValueError, TypeError, KeyError, InvalidName):
        return []  # anybody may write there


def _version(raw: bytes, limit: int = MAX_COUNT) -> int:
    try:
        version = int(float(raw))
    except (ValueError, OverflowError):
        return 0
    return version if version <= limit else 0  # somebody else wrote it: nothing could come after it
