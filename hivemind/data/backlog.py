"""How far the groups of kept topics are: what lies in each stream, and what its readers have yet to do. Only reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..bus.commands import Argument, Commands, pairs_in
from ..bus.streams import reader_of
from ..errors import RedisError
from ..topics import Names
from .entries import KeptTopic, Reading, retired_groups

AT_ONCE = 20  #: topics that are asked about in one round trip
COUNTED = 1000  #: unread messages that are counted one by one, where Redis does not know their number

Command = tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class GroupBacklog:
    """One group on one topic.

    ``lag`` messages have not been given to it (``is_more``: at least so many), ``pending`` ones are given and not
    acknowledged. ``unread`` and ``held`` are the ages in seconds of the oldest of each; None where there is none.
    ``readers`` are the instances that read in it and live. ``is_retired``: its node has left the configuration.
    """

    topic: str
    group: str
    lag: int
    pending: int
    unread: float | None
    held: float | None
    readers: tuple[str, ...] = ()
    is_more: bool = False
    is_retired: bool = False

    @property
    def oldest(self) -> float | None:
        """The age of the oldest message that it has yet to acknowledge, in seconds; None if there is none."""
        return max((age for age in (self.unread, self.held) if age is not None), default=None)

    @property
    def badness(self) -> tuple[float, int]:
        """The greater, the worse."""
        return self.oldest or 0.0, self.lag + self.pending

    def to_json(self) -> dict[str, Any]:
        """One flat object; stable names, ages in seconds."""
        return {
            "topic": self.topic,
            "group": self.group,
            "lag": self.lag,
            "is_more": self.is_more,
            "pending": self.pending,
            "oldest_pending": self.held,
            "oldest": self.oldest,
            "consumers": list(self.readers),
            "retired": self.is_retired,
        }


@dataclass(frozen=True, slots=True)
class TopicBacklog:
    """One kept topic: how many messages lie in its stream, what that takes in bytes of Redis's memory (about), and how
    many dead letters it has.
    """

    kept: KeptTopic
    length: int
    size: int
    letters: int
    groups: tuple[GroupBacklog, ...]

    def to_json(self) -> dict[str, Any]:
        """One object; stable names."""
        kept = asdict(self.kept)
        found = {"topic": kept["topic"], "durable": kept["durable"], "keep": kept["keep"], "length": self.length}
        groups = [one.to_json() for one in self.groups]
        return {**found, "bytes": self.size, "dead_letters": self.letters, "groups": groups}


#: when a living instance was registered, by its name
Lives = Mapping[str, int]


async def backlogs(
    commands: Commands, names: Names, topics: Sequence[KeptTopic], readings: Sequence[Reading], lives: Lives
) -> list[TopicBacklog]:
    """How far all groups are on ``topics``; ``lives`` are the incarnations of the instances that live, ``readings``
    say which groups have retired.

    What strangers put in a stream's place counts as nothing. Raises RedisError when Redis is away.
    """
    found: list[TopicBacklog] = []
    for start in range(0, len(topics), AT_ONCE):
        found += await _Portion(commands, names, readings, lives).read(topics[start : start + AT_ONCE])
    return found


class _Portion:
    """Some topics at a time, in three round trips."""

    def __init__(self, commands: Commands, names: Names, readings: Sequence[Reading], lives: Lives) -> None:
        self._commands, self._names, self._readings, self._lives = commands, names, readings, lives
        self._now = 0.0

    async def read(self, topics: Sequence[KeptTopic]) -> list[TopicBacklog]:
        asked: list[Command] = [("TIME",)]
        for one in topics:
            stream = self._names.stream(one.topic)
            asked += [("XLEN", stream), ("MEMORY", "USAGE", stream), ("XINFO", "GROUPS", stream)]
            asked.append(("XLEN", self._names.letters(one.topic)))
        time, *replies = await self._commands.pipeline(asked)
        self._now = int(time[0]) + int(time[1]) / 1e6
        listed = [[_flat(one) for one in reply] for reply in map(_rows, replies[2::4])]
        pairs = [(one.topic, group) for one, groups in zip(topics, listed, strict=True) for group in groups]
        groups = await self._groups(pairs)
        counts = zip(topics, *(map(_number, replies[at::4]) for at in (0, 1, 3)), strict=True)
        return [
            TopicBacklog(one, length, size, letters, tuple(group for group in groups if group.topic == one.topic))
            for one, length, size, letters in counts
        ]

    async def _groups(self, pairs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[GroupBacklog]:
        asked: list[Command] = []
        for topic, group in pairs:
            stream, after = self._names.stream(topic), b"(" + group["last-delivered-id"]
            unknown = COUNTED if group.get("lag") is None else 1
            asked += [("XPENDING", stream, group["name"]), ("XINFO", "CONSUMERS", stream, group["name"])]
            asked.append(("XRANGE", stream, after, "+", "COUNT", unknown))
        replies = await self._commands.pipeline(asked)
        now = int(self._now * 1000)
        idle = {topic: retired_groups(topic, self._readings, now) for topic in {topic for topic, _ in pairs}}
        each = zip(pairs, replies[::3], replies[1::3], replies[2::3], strict=True)
        return [self._group(topic, group, idle[topic], *rest) for (topic, group), *rest in each]

    def _group(
        self, topic: str, group: Mapping[str, Any], idle: Collection[str], pending: Any, consumers: Any, unread: Any
    ) -> GroupBacklog:
        held, rest = _rows(pending), _rows(unread)
        name, lag = group["name"].decode(errors="replace"), group.get("lag")
        return GroupBacklog(
            topic,
            name,
            len(rest) if lag is None else int(lag),
            _number(held[0]) if held else 0,
            self._age(rest[0][0]) if rest else None,
            self._age(held[1]) if held and held[1] else None,
            self._living(group["name"], [_flat(one) for one in _rows(consumers)]),
            lag is None and len(rest) == COUNTED,
            name in idle,
        )

    def _living(self, group: bytes, consumers: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        readers = [reader_of(group.decode(errors="replace"), one["name"]) for one in consumers]
        # Who joined again is newer than its registration.
        living = [one.instance for one in readers if one and one.incarnation >= self._lives.get(one.instance, 2**63)]
        return tuple(sorted(set(living)))

    def _age(self, entry: bytes) -> float:
        return round(max(0.0, self._now - int(entry.partition(b"-")[0]) / 1000), 3)


def _rows(reply: Any) -> list[Any]:
    """A reply that is a list; none where Redis refused."""
    return [] if isinstance(reply, RedisError) or reply is None else list(reply)


def _flat(reply: Any) -> dict[str, Any]:
    return {name.decode(): value for name, value in pairs_in(reply).items()}


def _number(reply: Any) -> int:
    return reply if isinstance(reply, int) else 0
