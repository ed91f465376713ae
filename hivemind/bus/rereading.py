"""Reads what is kept of topics: streams, back from the newest entry, and what each sender appended last."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ..since import span
from ..topics import Names, is_instance
from .commands import Argument, Commands, checked
from .holes import Place
from .inbox import InboxLimits
from .ranges import GOAL
from .streams import body_of

FIRST, COUNT = 20, 500  #: entries in the first portion, and in each of the others at the most
MOST_READ = 250_000  #: entries that are read back for one purpose
ORIGINAL = 2  #: words in an entry; one that was a dead letter and was replayed has more, and stands behind later ones
CHUNK = 100  #: topics that are asked about at once
_PLACE = re.compile(rb"(\d{1,16}):(\d{1,16})")


class Rereading:
    """What is kept, for who reads without a group. All methods raise RedisError."""

    def __init__(self, commands: Commands, names: Names) -> None:
        self._commands, self._names = commands, names

    async def back(self, topic: str, after: int = 0, most: int = MOST_READ) -> AsyncIterator[list[bytes]]:
        """The bodies of a stream, from the newest to the oldest, in portions: ``most`` at the most, and none that came
        in or before the millisecond ``after``. Dead letters that were replayed are left out.
        """
        stream, newest, oldest = self._names.stream(topic), "+", f"{after + 1}-0" if after > 0 else "-"
        count = min(FIRST, most)
        while count > 0:
            found = await self._commands.execute("XREVRANGE", stream, newest, oldest, "COUNT", count)
            bodies = [body for _, fields in found if len(fields) == ORIGINAL and (body := body_of(fields))]
            yield bodies
            if len(found) < count:
                return
            newest = f"({found[-1][0].decode()}"
            most -= count
            count = min(most, COUNT, max(1, count * GOAL // max(1, sum(map(len, bodies)))))

    async def since(self, topic: str, since: str, limits: InboxLimits) -> list[bytes]:
        """What is there since "all", a span such as "10m", or so many messages: bodies, the oldest first. Where it is
        more than ``limits`` allow, the newest of it.
        """
        after = 0
        if (seconds := span(since)) is not None:
            now, _ = await self._commands.execute("TIME")
            after = int((int(now) - seconds) * 1000)
        most = min(limits.messages, int(since)) if since.isdigit() else limits.messages
        bodies: list[bytes] = []
        size = 0
        async for portion in self.back(topic, after, most):
            for body in portion:
                size += len(body)
                if size > limits.size:
                    return bodies[::-1]
                bodies.append(body)
        return bodies[::-1]

    async def places(self, topics: Sequence[str]) -> list[tuple[str, str, Place]]:
        """Topic, sender, and the place of its last message, for all who ever appended to one of ``topics``."""
        places: list[tuple[str, str, Place]] = []
        for start in range(0, len(topics), CHUNK):
            chunk = topics[start : start + CHUNK]
            asked: list[tuple[Argument, ...]] = [("HGETALL", self._names.producers(topic)) for topic in chunk]
            for topic, reply in zip(chunk, await self._commands.pipeline(asked), strict=True):
                places += [(topic, *one) for one in _places(checked(reply))]
        return places

    async def places_of(self, topic: str, senders: Sequence[str]) -> dict[str, Place]:
        """The place of the last message that each of ``senders`` appended; those who never did are left out."""
        found = await self._commands.execute("HMGET", self._names.producers(topic), *senders)
        places = zip(senders, map(_place, found), strict=True)
        return {sender: place for sender, place in places if place is not None}


def _places(flat: Any) -> list[tuple[str, Place]]:
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    named = [(name.decode(errors="replace"), _place(raw)) for name, raw in pairs]
    return [(name, place) for name, place in named if place is not None and is_instance(name)]


def _place(raw: bytes | None) -> Place | None:
    """A life and a number; None for what somebody else wrote."""
    found = _PLACE.fullmatch(raw or b"")
    return (int(found[1]), int(found[2])) if found else None
