"""What is kept of the topics that somebody looks at, before what passes by: in order, and nothing twice.

Whoever reads it has subscribed before. So each message is in a stream that is read to its end from then on, or passes
by, or both: those that may do both are remembered, by the last sequence of each sender.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..bus.bus import Bus
from ..bus.ranges import GOAL, RawEntry, portions
from ..bus.streams import body_of, is_for
from ..data.kept import Kept
from ..errors import RedisRefused
from ..message import Envelope, Malformed, decode, foreign, is_envelope, payload_of
from ..topics import matches

BATCH = 2000  #: messages that are handed over at once
BEFORE = 5000  #: milliseconds by which a message may be older than its entry's id says: Redis's clock may be set


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message from a stream, as it came or as it was read, and when it was appended, in unix seconds."""

    at: float
    topic: str
    source: bytes | Envelope
    payload: Any
    size: int


@dataclass(order=True, slots=True)
class _Next:
    """The next entry of one topic."""

    id: tuple[int, int]
    topic: str
    body: bytes = field(compare=False)
    rest: AsyncIterator[tuple[tuple[int, int], bytes]] = field(compare=False)


class Past:
    """The messages that match ``patterns`` ``since``: "all", a span such as "10m", or so many of each topic."""

    def __init__(self, bus: Bus, patterns: Sequence[str], since: str) -> None:
        self._bus, self._patterns, self._since = bus, patterns, since
        self._marks: dict[tuple[str, str], tuple[int, int]] = {}
        self.malformed = 0

    async def read(self) -> AsyncIterator[list[PastMessage]]:
        """All of it, oldest first. Begin when you have subscribed. Raises RedisError."""
        subscribed = await self._bus.now() - BEFORE
        kept = await Kept(self._bus.streams).topics()
        topics = [one.topic for one in kept if any(matches(each, one.topic) for each in self._patterns)]
        heads = [head for topic in topics if (head := await self._begin(topic, len(topics))) is not None]
        heapq.heapify(heads)
        batch: list[PastMessage] = []
        while heads:
            head = heads[0]
            if (found := self._message(head, subscribed)) is not None:
                batch.append(found)
            following = await anext(head.rest, None)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, _Next(following[0], head.topic, following[1], head.rest))
            if len(batch) >= BATCH:
                yield batch
                batch = []
        yield batch

    def had(self, topic: str, envelope: Envelope) -> bool:
        """Whether a message that passed by was among those that were read."""
        if not self._marks:
            return False
        mark = self._marks.get((topic, envelope["n"]))
        return mark is not None and (envelope["e"], envelope["s"]) <= mark

    async def _begin(self, topic: str, topics: int) -> _Next | None:
        rest = self._entries(topic, max(GOAL // 16, 8 * GOAL // topics))
        first = await anext(rest, None)
        return None if first is None else _Next(first[0], topic, first[1], rest)

    async def _entries(self, topic: str, goal: int) -> AsyncIterator[tuple[tuple[int, int], bytes]]:
        """Id and body of what was sent to everybody: no dead letter that was replayed for one group."""
        try:
            start = await self._bus.streams.start(topic, self._since)
            stream = self._bus.names.stream(topic)
            async for entries in portions(self._bus.commands, stream, f"({start}", "+", goal):
                for one in entries:
                    body = body_of(one[1])
                    if body and is_for("", one[1]):
                        yield _parts(one), body
        except RedisRefused:
            return  # it is no stream: somebody wrote something else in its place

    def _message(self, head: _Next, subscribed: float) -> PastMessage | None:
        source: bytes | Envelope = head.body
        try:
            value = decode(head.body)
            if not isinstance(value, dict) or "v" not in value:
                source, payload = foreign(value), value
            elif is_envelope(value):
                payload = payload_of(value)
                if head.id[0] >= subscribed:
                    self._mark(head.topic, value)
            else:
                raise Malformed("it is no envelope")
        except Malformed:
            self.malformed += 1
            return None
        return PastMessage(head.id[0] / 1000, head.topic, source, payload, len(head.body))

    def _mark(self, topic: str, envelope: Envelope) -> None:
        key, mark = (topic, envelope["n"]), (envelope["e"], envelope["s"])
        self._marks[key] = max(mark, self._marks.get(key, mark))


def _parts(entry: RawEntry) -> tuple[int, int]:
    ms, _, number = entry[0].partition(b"-")
    return int(ms), int(number)
