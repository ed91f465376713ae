"""Dead letters: what groups gave up, topic by topic. They are read in portions, however many there are."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from ..bus.commands import checked
from ..bus.ranges import portions
from ..bus.streams import Streams
from ..message import Malformed, decode, is_envelope, payload_of
from ..topics import is_pattern, matches
from .kept import Kept

AT_ONCE = 100  #: letters in one call
FIRST, READ = 10, 2**22  #: letters in the first answer, and bytes after which the newest of a topic are enough
_TEXTS = ("group", "instance", "entry", "reason", "traceback", "message", "raw")
GONE, UNREAD = 0, -1  #: what a replay answers for a letter that is not there, and where its group does not read


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that ``group`` gave up at unix time ``died`` after ``tries`` deliveries, and why.

    ``message`` is its envelope as it came; "" where somebody wrote something else among the letters. Where it was no
    UTF-8 that is only about what it was, and ``raw`` is base64 of it.
    """

    topic: str
    id: str
    group: str = ""
    instance: str = ""
    incarnation: int = 0
    tries: int = 0
    died: float = 0.0
    entry: str = ""
    reason: str = ""
    traceback: str = ""
    message: str = ""
    raw: str = ""

    @property
    def body(self) -> bytes:
        """Its message, byte for byte."""
        with suppress(ValueError):
            if self.raw:
                return b64decode(self.raw, validate=True)
        return self.message.encode(errors="replace")

    @property
    def name(self) -> str:
        """What it is called on the command line: no topic has a colon."""
        return f"{self.topic}:{self.id}"

    @property
    def is_whole(self) -> bool:
        """Whether it says what its message was, and who gave it up."""
        return bool(self.message and self.group)

    def envelope(self) -> dict[str, Any]:
        """The envelope of its message, with the payload as ``payload``; only the payload, if it was a foreign one.

        Raises Malformed if it is neither.
        """
        value = decode(self.message.encode(errors="replace"))
        if not isinstance(value, dict) or "v" not in value:
            return {"payload": value}
        if not is_envelope(value):
            raise Malformed("it is no envelope")
        return {**value, "payload": payload_of(value)}

    @property
    def payload(self) -> Any:
        """What was sent. Raises Malformed as ``envelope``."""
        return self.envelope()["payload"]

    def to_json(self) -> dict[str, Any]:
        """One flat object; stable names."""
        return {**asdict(self), "id": self.name}


@dataclass(frozen=True, slots=True)
class Shelf:
    """The letters of a topic from one id to another, both included; ``group`` "" means of all groups."""

    topic: str
    first: str
    last: str
    group: str = ""


class Letters:
    """The dead letters of one hive. All methods raise RedisError."""

    def __init__(self, streams: Streams) -> None:
        self._commands, self._functions, self._names = streams.commands, streams.functions, streams.names
        self._kept = Kept(streams)

    async def topics(self, pattern: str = "*") -> list[str]:
        """The topics that match and have, or may get, dead letters; a topic that is written out is looked at, too."""
        found = {one.topic for one in await self._kept.topics() if matches(pattern, one.topic)}
        return sorted(found if is_pattern(pattern) else found | {pattern})

    async def shelf(self, topic: str, since: float = 0.0, group: str = "") -> Shelf | None:
        """The letters of a topic that are there now and died after the unix time ``since``; None if there are none.

        What dies later is not on it: who replays letters must not meet them again.
        """
        newest = await self._commands.execute("XREVRANGE", self._names.letters(topic), "+", "-", "COUNT", 1)
        return Shelf(topic, f"{int(since * 1000)}-0", newest[0][0].decode(), group) if newest else None

    async def count(self) -> dict[str, int]:
        """How many letters each topic has, of those that have some."""
        topics = await self.topics()
        replies = await self._commands.pipeline([("XLEN", self._names.letters(topic)) for topic in topics])
        counts = ((topic, reply) for topic, reply in zip(topics, replies, strict=True) if isinstance(reply, int))
        return {topic: count for topic, count in counts if count}

    async def read(self, shelf: Shelf) -> AsyncIterator[list[Letter]]:
        """The letters of a shelf, oldest first, in portions."""
        async for entries in portions(self._commands, self._names.letters(shelf.topic), shelf.first, shelf.last):
            found = [letter_from(shelf.topic, entry, fields) for entry, fields in entries]
            yield [one for one in found if shelf.group in ("", one.group)]

    async def newest(
        self, topic: str, before: str = "+", group: str = "", most: int = AT_ONCE
    ) -> tuple[list[Letter], bool]:
        """The last ``most`` letters of a topic, or of one group of it, the newest first, ``before`` an id ("+": all);
        and whether it gave up, which it does after READ bytes, so that older ones may not be among them.
        """
        found: list[Letter] = []
        is_whole, size, count, newest = False, 0, FIRST, before if before == "+" else f"({before}"
        while len(found) < most and size < READ:
            entries = await self._commands.execute("XREVRANGE", self._names.letters(topic), newest, "-", "COUNT", count)
            read = [letter_from(topic, entry, fields) for entry, fields in entries]
            found += [one for one in read if group in ("", one.group)]
            if is_whole := len(entries) < count:
                break
            size += sum(len(field) for _, fields in entries for field in fields)
            newest, count = f"({entries[-1][0].decode()}", AT_ONCE if size < READ // 10 else FIRST
        return found[:most], not is_whole and len(found) < most

    async def replay(self, letters: Sequence[Letter], *, for_all: bool = False) -> list[int | str]:
        """Append the messages of letters of one topic again, for the group that gave each up or ``for_all`` groups, and
        remove the letters, each in one step; return for each the new entry, GONE, or UNREAD (then it stays).
        """
        done: list[int | str] = []
        for start in range(0, len(letters), AT_ONCE):
            part = letters[start : start + AT_ONCE]
            keys = (self._names.stream(part[0].topic), self._names.letters(part[0].topic))
            wanted = [word for one in part for word in (one.id, "" if for_all else one.group, one.body)]
            said = await self._functions.call("replay", keys, wanted)
            done += [one.decode() if isinstance(one, bytes) else int(one) for one in said]
        return done

    async def drop(self, topic: str, ids: Sequence[str]) -> int:
        """Remove letters for good; return how many were there."""
        commands = [("XDEL", self._names.letters(topic), *ids[at : at + AT_ONCE]) for at in range(0, len(ids), AT_ONCE)]
        return sum(int(checked(reply)) for reply in await self._commands.pipeline(commands))


def letter_from(topic: str, entry: bytes, fields: Sequence[bytes]) -> Letter:
    """Read what lies among the letters; what is missing or of the wrong type gets a harmless value."""
    name = entry.decode(errors="replace")
    try:
        said = orjson.loads(fields[1])
    except (orjson.JSONDecodeError, IndexError):
        return Letter(topic, name)
    if not isinstance(said, dict):
        return Letter(topic, name)
    texts = {key: str(said.get(key) or "") for key in _TEXTS}
    return Letter(
        topic,
        name,
        incarnation=_number(said.get("incarnation"), int),
        tries=_number(said.get("tries"), int),
        died=_number(said.get("died"), float),
        **texts,
    )


def _number(raw: object, kind: type[Any]) -> Any:
    return kind(raw) if isinstance(raw, int | float) and abs(raw) < 2**63 else kind()  # more is no integer of JSON's
