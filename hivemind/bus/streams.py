"""Durable topics in Redis: streams, their groups, and what is done to them in one step.

Every key of a topic lies in one slot of a Cluster. Consumers are called after a life of an instance, so that a dead
one's acknowledgement cannot pass for its successor's; the functions refuse a life that was taken over from.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RedisRefused, TakenOver
from ..message import count_in
from ..retention import Retention
from ..since import span
from ..topics import Names, is_instance
from .commands import Argument, Commands, pairs_in
from .endpoint import Endpoint
from .functions import Functions
from .jumps import Jumps

FENCED = "FENCED "
BACK = 10_000  #: entries that are gone back at once, which takes Redis a few milliseconds
NOBODY = "-"  #: a group that is there only until its stream is; no node can be called so
#: a message as a group was given it: its entry's id, and the entry's fields, or None where the stream has lost it
Given = Sequence[Any]
#: calls a function by its name with keys and arguments
Caller = Callable[[str, Sequence[str], Sequence[Argument]], Awaitable[Any]]
_CONSUMER = re.compile(r"(.+)\.e(\d{1,16})")


@dataclass(frozen=True, slots=True)
class Reader:
    """One life of an instance as a member of a group."""

    group: str
    instance: str
    incarnation: int

    @property
    def consumer(self) -> str:
        """Its name in Redis."""
        return f"{self.instance}.e{self.incarnation}"


def reader_of(group: str, consumer: bytes) -> Reader | None:
    """Who a consumer of Redis is; None if it is none of ours."""
    life = _CONSUMER.fullmatch(consumer.decode(errors="replace"))
    return Reader(group, life[1], int(life[2])) if life is not None and is_instance(life[1]) else None


@dataclass(frozen=True, slots=True)
class Home:
    """Where streams are: the connection to make, what it is called, the hive's names, and its functions."""

    endpoint: Endpoint
    name: str
    names: Names
    functions: Functions


@dataclass(frozen=True, slots=True)
class Held:
    """A message that a life held when it ended: its entry's id, how many tries it had, in how many seconds the next is
    due (None: it did not wait for one), and the key by which it is ordered.
    """

    entry: bytes
    tries: int
    wait: float | None = None
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Owned:
    """A message that a reader holds, as Redis sees it, and the entry's fields, or None where the stream has lost it."""

    held: Held
    fields: Sequence[bytes] | None

    @property
    def is_new(self) -> bool:
        """Whether it was given to somebody, and nothing more is known to have happened to it."""
        return self.held.tries <= 1 and self.held.wait is None and self.fields is not None


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells a message from all others of its topic: who sent it, in which life, and its number."""

    sender: str
    incarnation: int
    sequence: int

    @property
    def who(self) -> str:
        """Its sender, as ``conclude`` and ``seen`` are told."""
        return f"{self.incarnation} {self.sender}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What ``draw`` gave: the messages, behind which entry there may be more, whether nobody may read on until another
    reader has taken what waits for it, and how many messages the stream had lost.
    """

    given: list[Given]
    last: bytes
    is_held_up: bool
    lost: int


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a message that begins: its entry's id, the how-manieth try it is, and the body, or None where the
    stream has lost the entry: then it counts as acknowledged.
    """

    entry: bytes
    number: int
    body: bytes | None


def body_of(fields: Sequence[bytes] | None) -> bytes:
    """The envelope in an entry; b"" where the stream has lost it, or somebody wrote something else."""
    return fields[1] if fields and len(fields) in (2, 4) and fields[0] == b"b" else b""


def is_for(group: str, fields: Sequence[bytes] | None) -> bool:
    """Whether a group is meant: a dead letter that was replayed is for the one that gave up only."""
    return not fields or len(fields) != 4 or fields[2] != b"g" or fields[3] == group.encode()


class Streams:
    """What is done to the durable topics of one hive. All methods raise RedisError when Redis does not do its part.

    Those that act for a reader raise TakenOver when somebody took over from its life.
    """

    def __init__(self, commands: Commands, functions: Functions, names: Names) -> None:
        self.commands, self.functions, self.names = commands, functions, names
        self.jumps = Jumps()

    async def join(self, topic: str, group: str, start: str) -> bool:
        """Let ``group`` read ``topic`` from the entry after ``start`` ("0": all, "$": what comes from now on); False if
        it does already.
        """
        try:
            await self.commands.execute("XGROUP", "CREATE", self.names.stream(topic), group, start, "MKSTREAM")
        except RedisRefused as error:
            # a Redis without memory does not say that the group is there already
            if "BUSYGROUP" not in str(error) and group not in await self.groups(topic):
                raise
            return False
        return True

    async def groups(self, topic: str) -> set[str]:
        """The groups that read a topic, whoever made them; none where there is no stream."""
        try:
            found = await self.commands.execute("XINFO", "GROUPS", self.names.stream(topic))
        except RedisRefused:
            return set()
        return {pairs_in(one)[b"name"].decode(errors="replace") for one in found}

    async def ensure(self, topic: str) -> bool:
        """Let the stream be there, if only empty; False if it was. What lies in its place and is none is removed."""
        name = self.names.stream(topic)
        kind = await self.commands.execute("TYPE", name)
        if kind in (b"stream", "stream"):
            return False
        if kind not in (b"none", "none"):
            await self.commands.execute("DEL", name)
        await self.join(topic, NOBODY, "$")
        await self.commands.execute("XGROUP", "DESTROY", name, NOBODY)
        return True

    async def start(self, topic: str, since: str) -> str:
        """The entry after which a group begins that wants what there is ``since``: "new", "all", a duration such as
        "10m", or a number of messages.
        """
        if since == "new":
            return "$"
        if since == "all":
            return "0"
        stream = self.names.stream(topic)
        if since.isdigit():
            return await self._back(stream, int(since) + 1)
        seconds, _ = await self.commands.execute("TIME")
        return f"{max(0, int((int(seconds) - (span(since) or 0.0)) * 1000))}-0"

    async def _back(self, stream: str, left: int) -> str:
        """The entry that is so many from the end; "0" if there are fewer. Only ids travel, however many it is."""
        if left > int(await self.commands.execute("XLEN", stream)):
            return "0"
        last = "+"
        while left > 0:
            last, went = await self.functions.call("back", (stream,), (last, min(left, BACK)))
            left -= int(went)
            if not went:
                return "0"  # it was trimmed meanwhile
        return last.decode() if isinstance(last, bytes) else str(last)

    async def acknowledge(self, topic: str, reader: Reader, entries: Sequence[bytes]) -> int:
        """Say that messages are handled; return how many of them were still the reader's."""
        return int(await self._act("ack", topic, reader, *entries))

    async def park(self, topic: str, reader: Reader, entry: bytes, delay: float) -> float:
        """Let a message wait ``delay`` seconds for its next try; return when that is due, in unix seconds by Redis's
        clock, or 0.0 when it is not the reader's any more.
        """
        return int(await self._act("park", topic, reader, entry, int(delay * 1000))) / 1000

    async def put_back(self, topic: str, reader: Reader, entry: bytes, number: int) -> None:
        """The ``number``-th try of a message was counted, and is not begun: whoever has it next begins that one."""
        await self._act("park", topic, reader, entry, 0 if number > 1 else "", number)

    async def retake(self, topic: str, reader: Reader, entries: Sequence[bytes], counted: int = 0) -> list[Try]:
        """Begin one more try of messages that the reader holds; those that it does not hold are left out.

        ``counted`` is how many tries of each Redis had counted when the reader last heard (0: it does not know): who
        asks once more, because an answer was lost, begins the same try.
        """
        found = await self._act("retake", topic, reader, reader.consumer, counted, *entries)
        return [Try(entry, tries, fields[1] if fields else None) for entry, tries, fields in found]

    async def bury(
        self, topic: str, reader: Reader, entry: bytes, letter: bytes, most: int, key: bytes = b""
    ) -> bytes | None:
        """Write a dead letter and acknowledge its message; return the letter's id, None when it is not the reader's
        any more. About ``most`` letters of a topic are kept.
        """
        keys = (*self._keys(topic), self.names.letters(topic), self.names.order(topic))
        said = await self._call("bury", keys, reader, entry, letter, most, key, reader.consumer)
        return said if isinstance(said, bytes) else None

    async def conclude(
        self, topic: str, reader: Reader, entries: Sequence[tuple[bytes, bytes]], window: float, marks: Sequence[Mark]
    ) -> int:
        """Acknowledge messages, each with its key, and remember for ``window`` seconds what was handled."""
        keys = (*self._keys(topic), self.names.order(topic), self.names.memory(topic))
        each = [part for entry in entries for part in entry]
        asked: tuple[Argument, ...] = (reader.consumer, int(window * 1000), len(entries), *each, *_intervals(marks))
        return int(await self._call("conclude", keys, reader, *asked))

    async def seen(self, topic: str, group: str, marks: Sequence[Mark]) -> list[bool]:
        """Whether messages with these marks were handled by a group, and that is remembered."""
        asked = [part for mark in marks for part in (mark.who, mark.sequence)]
        return [bool(one) for one in await self.functions.call("seen", (self.names.memory(topic),), (group, *asked))]

    async def draw(self, topic: str, reader: Reader, most: int, path: str) -> Drawn:
        """Read up to ``most`` messages in the order of a key: what others gave to the reader, then what is new."""
        keys = (self.names.stream(topic), self.names.producers(topic), self.names.order(topic))
        last, is_held_up, lost, found = await self._call("draw", keys, reader, reader.consumer, most, path)
        return Drawn(found, last, bool(is_held_up), lost)

    async def take_over_keys(
        self, topic: str, reader: Reader, ended: Reader, path: str, lease: int | None = None
    ) -> list[Held]:
        """As ``take_over``, of what is ordered by the key at ``path``; ``ended`` may be the reader itself, to learn
        what it holds.
        """
        whose: tuple[Argument, ...] = ("" if ended == reader else ended.instance, ended.incarnation, ended.consumer)
        keys = (*self._keys(topic), self.names.order(topic))
        arguments = (reader.group, reader.consumer, *whose, path, self.jumps.text, *self._unless_renewed(ended, lease))
        found = await self.functions.call("take_over_keys", keys, arguments)
        return [Held(entry, tries, _seconds(wait), key) for entry, tries, wait, key in found]

    async def readers(self, topic: str, group: str) -> list[Reader]:
        """Who has read a topic in a group and may hold some of it, living and dead."""
        try:
            found = await self.commands.execute("XINFO", "CONSUMERS", self.names.stream(topic), group)
        except RedisRefused:  # the stream or the group is gone, or it is no stream: whoever reads it says so
            return []
        lives = (reader_of(group, pairs_in(one)[b"name"]) for one in found)
        return [one for one in lives if one is not None]

    async def fence(self, topic: str, reader: Reader) -> int:
        """The newest life of a reader's instance that was taken over from; 0 if none was."""
        field = f"taken:{reader.group}:{reader.instance}"
        try:
            return count_in(await self.commands.execute("HGET", self.names.producers(topic), field))
        except RedisRefused:  # it is no hash: whoever takes over next makes it anew
            return 0

    async def owned(
        self, topic: str, reader: Reader, after: bytes, most: int, ask: Caller | None = None
    ) -> list[Owned]:
        """What a reader holds behind an entry, as Redis sees it, with what is in it; counts as no try. ``ask`` calls a
        function, over another connection.
        """
        keys = (self.names.stream(topic), self.names.retries(topic))
        asked = (reader.group, reader.consumer, after, most, self.jumps.text)
        found = await (ask or self.functions.call)("reread", keys, asked)
        return [Owned(Held(entry, tries, _seconds(wait)), fields) for entry, tries, wait, fields in found]

    async def held(self, topic: str, reader: Reader, last: str | bytes = "+") -> list[Held]:
        """What a reader holds up to the entry ``last``, as Redis sees it; a portion."""
        asked = ("XPENDING", self.names.stream(topic), reader.group, "-", last, 10_000, reader.consumer)
        return [Held(one[0], int(one[3])) for one in await self.commands.execute(*asked)]

    async def take_over(
        self, topic: str, reader: Reader, ended: Reader, most: int = 1000, lease: int | None = None
    ) -> list[Held]:
        """Take up to ``most`` messages that a life held when it ended; from then on it may acknowledge nothing.

        ``lease`` is when its lease ended, by Redis's clock, where that is why: nothing is taken if it was renewed
        since.
        """
        from_whom: tuple[Argument, ...] = (ended.instance, ended.incarnation, ended.consumer)
        unless = self._unless_renewed(ended, lease)
        arguments = (reader.group, reader.consumer, *from_whom, most, self.jumps.text, *unless)
        found = await self.functions.call("take_over", self._keys(topic), arguments)
        return [Held(entry, tries, _seconds(wait)) for entry, tries, wait in found]

    async def trim(self, topic: str, retention: Retention, retired: Collection[str] = ()) -> int:
        """Remove what has not to be kept, but of a durable topic nothing that a group, unless it is retired, has yet to
        read or to acknowledge. Removes a portion; return how many it was.
        """
        most_ms, most = limits(retention)
        arguments: tuple[Argument, ...] = (most_ms, most, "durable" if retention.durable else "", *retired)
        return int(await self.functions.call("trim", (self.names.stream(topic),), arguments))

    async def change(self, key: str, fields: Mapping[str, tuple[bytes, bytes]]) -> int:
        """Change the fields of a hash that are what they were before, to what comes after (b"": they go); how many."""
        flat = [part for name, (before, after) in fields.items() for part in (name, before, after)]
        return int(await self.functions.call("change", (key,), flat)) if flat else 0

    async def idle(self, topic: str, group: str) -> float | None:
        """For how many seconds no consumer of a group has done anything; None where it has none."""
        try:
            found = await self.commands.execute("XINFO", "CONSUMERS", self.names.stream(topic), group)
        except RedisRefused:  # there is no such group
            return None
        return min((pairs_in(one)[b"idle"] / 1000 for one in found), default=None)

    async def disband(self, topic: str, group: str) -> bool:
        """Remove a group from a topic, with all that is remembered of it; False if there was none."""
        return bool(await self.functions.call("disband", self._all_keys(topic), (group,)))

    async def abandon(self, topic: str, seconds: float) -> bool:
        """Remove a topic that no group reads, and whose last message is ``seconds`` old; False if it is not so, or has
        dead letters.
        """
        stream, *others = self._all_keys(topic)
        keys = (stream, self.names.letters(topic), *others)
        return bool(await self.functions.call("abandon", keys, (int(seconds * 1000),)))

    async def _act(self, function: str, topic: str, reader: Reader, *arguments: Argument) -> Any:
        return await self._call(function, self._keys(topic), reader, *arguments)

    async def _call(self, function: str, keys: Sequence[str], reader: Reader, *arguments: Argument) -> Any:
        who: tuple[Argument, ...] = (reader.group, reader.instance, reader.incarnation)
        try:
            return await self.functions.call(function, keys, (*who, *arguments))
        except RedisRefused as error:
            if not str(error).startswith(FENCED):
                raise
            raise TakenOver(reader.instance, reader.incarnation) from None

    def _unless_renewed(self, ended: Reader, lease: int | None) -> tuple[Argument, Argument]:
        return self.names.node(ended.instance), "" if lease is None else lease

    def _all_keys(self, topic: str) -> tuple[str, ...]:
        """All but that of dead letters."""
        return *self._keys(topic), self.names.order(topic), self.names.memory(topic)

    def _keys(self, topic: str) -> tuple[str, ...]:
        names = self.names
        return names.stream(topic), names.producers(topic), names.retries(topic)


def limits(retention: Retention) -> tuple[str, str]:
    """The most milliseconds and the most entries that are kept, as the functions take them: "" for any number."""
    seconds, entries = retention.seconds, retention.entries
    return "" if seconds is None else str(int(seconds * 1000)), "" if entries is None else str(entries)


def _seconds(milliseconds: bytes) -> float | None:
    return int(milliseconds) / 1000 if int(milliseconds) >= 0 else None


def _intervals(marks: Sequence[Mark]) -> Iterator[str]:
    """Each sender among ``marks``, and its sequences as intervals."""
    by_sender: defaultdict[str, list[int]] = defaultdict(list)
    for mark in marks:
        by_sender[mark.who].append(mark.sequence)
    for who, sequences in by_sender.items():
        runs: list[list[int]] = []
        for one in sorted(sequences):
            if runs and one <= runs[-1][1] + 1:
                runs[-1][1] = one
            else:
                runs.append([one, one])
        yield who
        yield " ".join(f"{first}-{last}" for first, last in runs)
