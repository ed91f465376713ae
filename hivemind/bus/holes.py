"""Holes: what a subscription should have received and did not, on topics whose messages are kept and can be read again.

::

    a message that is not the next ─► Hole ─► Filler reads the stream ─► settled ─► what waited behind it goes on
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import cast

from .inbox import Entry, Inbox, InboxLimits

#: a life of a sender, and the number of a message in it: so a sender's messages on one topic are ordered
Place = tuple[int, int]


class Hole:
    """What ``sender`` sent on ``topic`` from ``first`` to ``last`` and did not come; of lives before that of ``last``
    nobody knows how much they sent.

    Where ``is_sure``, what is not found is missed; else nobody knows whether there ever was anything. ``after`` is unix
    milliseconds by Redis's clock: what was sent before is not wanted.
    """

    __slots__ = ("after", "first", "found", "is_settled", "is_sure", "last", "sender", "topic")

    def __init__(self, topic: str, sender: str, first: Place, last: Place, *, is_sure: bool, after: float) -> None:
        self.topic, self.sender, self.first, self.last = topic, sender, first, last
        self.is_sure, self.after = is_sure, after
        self.is_settled = False
        self.found: list[tuple[Place, Entry]] = []  # the newest first, as long as it is being filled

    def missing(self) -> Iterator[tuple[int, int]]:
        """First and last number of what was not found, as far as it was sent for certain. Once it is settled."""
        if not self.is_sure:
            return
        life, expected = self.first
        for (one, number), _ in self.found:
            if one != life:
                life, expected = one, 1
            if number > expected:
                yield expected, number - 1
            expected = number + 1
        if life != self.last[0]:
            expected = 1
        if expected <= self.last[1]:
            yield expected, self.last[1]


class Passage:
    """What came behind holes, on its way into an inbox: it waits, in order, until they are settled.

    Bounded as the inbox: beyond that the oldest that waits is dropped, and counted there.
    """

    def __init__(self, inbox: Inbox, limits: InboxLimits) -> None:
        self._inbox, self._limits = inbox, limits
        self._parts: deque[tuple[Hole, deque[Entry]]] = deque()  # each hole, and what came behind it
        self._count = self._size = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_clear(self) -> bool:
        """Whether there is no hole: then nothing waits."""
        return not self._parts

    def put(self, coming: list[Entry | Hole]) -> None:
        """Let in what came, in order, with the holes that are in it."""
        ready: list[Entry] = []
        for one in coming:
            if isinstance(one, Hole):
                self._parts.append((one, deque()))
            elif self._parts:
                self._parts[-1][1].append(one)
                self._count += 1
                self._size += one[3]
            else:
                ready.append(one)
        if ready:
            self._inbox.put(ready)
        while self._count > self._limits.messages or self._size > self._limits.size:
            self._drop()

    def _drop(self) -> None:
        waiting = next(entries for _, entries in self._parts if entries)
        self._count -= 1
        self._size -= waiting.popleft()[3]
        self._inbox.dropped += 1

    def advance(self) -> None:
        """Let go what waits for no hole any more."""
        ready: list[Entry] = []
        while self._parts and self._parts[0][0].is_settled:
            hole, waiting = self._parts.popleft()
            ready += [entry for _, entry in hole.found]
            ready += waiting
            self._count -= len(waiting)
            self._size -= sum([entry[3] for entry in waiting])
        if ready:
            self._inbox.put(ready)

    def holes(self) -> list[Hole]:
        """The holes that are not settled yet."""
        return [hole for hole, _ in self._parts if not hole.is_settled]


def without_holes(coming: list[Entry | Hole]) -> list[Entry]:
    """The same list, by who knows that there is no hole in it."""
    return cast("list[Entry]", coming)
