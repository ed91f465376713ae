"""One live subscription: from bytes as Redis pushed them to entries of an inbox, counted by a ledger.

::

    receive ─► ledger ─► passage ─► inbox
                 │  holes   ▲ found
                 └─► Filler ┘
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from orjson import loads

from ..message import FLAT, OTHER, Envelope, Malformed, decode, foreign, is_envelope, payload_of
from ..since import check_since
from ..topics import check_pattern
from .holes import Hole, Passage, Place, without_holes
from .inbox import Entry, Inbox, InboxLimits
from .ledger import Ledger

Early = list[tuple[list[list[bytes]], Mapping[bytes, str]]]


class LiveSubscription:
    """At most once: one pattern, one ledger, one bounded inbox.

    ``malformed`` counts bytes that were no message. ``raw=True`` gets those too, as the payload. It begins with what is
    there ``since`` on topics that are kept ("new": nothing): then all waits until somebody calls ``begin``.
    """

    def __init__(
        self, pattern: str, *, limits: InboxLimits | None = None, raw: bool = False, since: str | int = "new"
    ) -> None:
        self.pattern = check_pattern(pattern)
        self.since = check_since(since)
        self.limits = limits or InboxLimits()
        self.inbox = Inbox(limits)
        self.passage = Passage(self.inbox, self.limits)
        self.ledger = Ledger()
        self.raw = raw
        self.malformed = 0
        self.is_begun = False
        self._fill: Callable[[LiveSubscription, Hole], None] | None = None
        self._coming: list[Entry | Hole] | None = None  # while we receive
        self._has_holes = False  # what is coming
        self._early: Early | None = None if self.since == "new" else []  # what came before we were told to begin

    def receive(self, items: list[list[bytes]], topics: Mapping[bytes, str]) -> None:
        """Enter messages as Redis pushed them: envelopes of ours, foreign messages, or what is neither."""
        if self._early is not None:
            self._wait(self._early, items, topics)
            return
        entries: list[Entry | Hole] = []
        self._coming = entries
        lines, line, before, nexts = self.ledger.latest_lines, None, b"", 0
        for item in items:
            channel, body = item[-2], item[-1]
            if channel != before:
                before, topic = channel, topics[channel]
                line = lines.get(topic)
            size = len(body)
            try:
                value = loads(body) if size <= FLAT else decode(body)
            except ValueError:
                entry = self._malformed(topic, body)
            else:
                if line is not None and (payload := line.payload(value)) is not OTHER:
                    nexts += 1
                    entries.append((topic, payload, body, size))
                    continue
                entry = self._admit(topic, value, body)
                line = lines.get(topic)
            if entry is not None:
                entries.append(entry)
        self.ledger.received += nexts
        self._coming = None
        if self.passage.is_clear and not self._has_holes:
            self.inbox.put(without_holes(entries))
        else:
            self._has_holes = False
            self.passage.put(entries)

    def _admit(self, topic: str, value: Any, body: bytes) -> Entry | None:
        """Enter what is not just the next message of who spoke last; None if no handler may see it."""
        if value.__class__ is not dict or "v" not in value:
            return self._foreign(topic, value, body)
        try:
            payload = payload_of(value) if is_envelope(value) else OTHER
        except Malformed:
            payload = OTHER
        if payload is OTHER:
            return self._malformed(topic, body)
        return (topic, payload, _source(value, body), len(body)) if self.ledger.admit(topic, value) else None

    def _malformed(self, topic: str, body: bytes) -> Entry | None:
        self.malformed += 1
        return self._foreign(topic, body, body) if self.raw else None

    def _foreign(self, topic: str, payload: Any, body: bytes) -> Entry:
        self.ledger.received += 1
        return topic, payload, foreign(payload), len(body)

    # -- what somebody else has

    def hold(self) -> None:
        """Hold back what comes until ``begin`` or ``begin_without``."""
        if self._early is None and not self.is_begun:
            self._early = []

    def drop_unnumbered(self) -> None:
        """What came until now and has no number, because it is no message of ours, is somebody else's."""
        if self._early is not None:
            self._early[:] = [([one for one in items if _is_ours(one[-1])], topics) for items, topics in self._early]

    # -- what is kept

    def begin(
        self,
        history: Iterable[tuple[str, bytes]],
        places: Iterable[tuple[str, str, Place]],
        fill: Callable[[LiveSubscription, Hole], None],
        kept: Container[str],
        now: float,
    ) -> None:
        """Take ``history`` (topic, body), then what came meanwhile, then go on, and let ``fill`` have the holes on
        topics that are ``kept``. ``places`` say what each sender has sent last on each topic. Once.
        """
        early, self._early, self.is_begun = self._early or [], None, True
        firsts = _firsts(early)
        past = [self._recall(topic, body, firsts) for topic, body in history]
        self.inbox.put([entry for entry in past if entry is not None])
        for items, topics in early:
            self.receive(items, topics)
        self._fill = fill
        self.ledger.keep(kept, now)
        self.ledger.on_hole = self._on_hole
        for topic, sender, place in places:
            self.ledger.begin_after(topic, sender, place)

    def begin_without(self) -> None:
        """Go on without what was there before."""
        early, self._early = self._early or [], None
        for items, topics in early:
            self.receive(items, topics)

    def _wait(self, early: Early, items: list[list[bytes]], topics: Mapping[bytes, str]) -> None:
        early.append((items, topics))
        while len(early) > 1 and sum([len(one) for one, _ in early]) > self.limits.messages:
            self.inbox.dropped += len(early.pop(0)[0])

    def begin_again(self) -> None:
        """The connection was lost before we began: what came over it is in the streams."""
        if self._early is not None:
            self._early.clear()

    def _recall(self, topic: str, body: bytes, firsts: Mapping[tuple[str, str, int], int]) -> Entry | None:
        try:
            value = decode(body)
            if not is_envelope(value):
                return self._admit(topic, value, body)
            if value["s"] >= firsts.get((topic, value["n"], value["e"]), value["s"] + 1):
                return None  # it came over the connection, too
            payload = payload_of(value)
        except Malformed:
            return self._malformed(topic, body)
        return (topic, payload, _source(value, body), len(body)) if self.ledger.recall(topic, value) else None

    def _on_hole(self, hole: Hole) -> None:
        assert self._fill is not None
        if self._coming is not None:
            self._coming.append(hole)
            self._has_holes = True
        else:
            self.passage.put([hole])
        self._fill(self, hole)

    def take(self, hole: Hole, place: Place, body: bytes) -> int:
        """Take a message that was found in a hole, from the newest to the oldest; return its bytes, 0 if it is none."""
        try:
            payload = payload_of(value := decode(body))
        except Malformed:
            return 0
        hole.found.append((place, (hole.topic, payload, _source(value, body), len(body))))
        return len(body)

    def settle(self, hole: Hole) -> None:
        """All of a hole that can be found has been taken: let go what waits behind it."""
        if not hole.is_settled:
            hole.found.reverse()
            self.ledger.settle(hole)
            self.passage.advance()

    def close(self) -> None:
        """Nothing comes any more; what is being filled is not waited for. May be called twice."""
        self.begin_without()
        for hole in self.passage.holes():
            hole.found.clear()
            self.settle(hole)
        self.inbox.close()


def _source(value: Envelope, body: bytes) -> bytes | Envelope:
    """What is kept of an envelope: as it was read if it has headers, at which somebody will look, else as it came."""
    return value if "h" in value else body


def _is_ours(body: bytes) -> bool:
    try:
        return is_envelope(decode(body))
    except Malformed:
        return False


def _firsts(early: Early) -> dict[tuple[str, str, int], int]:
    """The number of the first message that came, by topic, sender and life."""
    firsts: dict[tuple[str, str, int], int] = {}
    for items, topics in early:
        for item in items:
            try:
                value = decode(item[-1])
            except Malformed:
                continue
            if is_envelope(value):
                firsts.setdefault((topics[item[-2]], value["n"], value["e"]), value["s"])
    return firsts
