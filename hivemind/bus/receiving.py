"""One live subscription: from bytes as Redis pushed them to entries of an inbox, counted by a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orjson import loads

from ..message import FLAT, OTHER, Malformed, decode, foreign, is_envelope, payload_of
from ..topics import check_pattern
from .inbox import Entry, Inbox, InboxLimits
from .ledger import Ledger


class LiveSubscription:
    """At most once: one pattern, one ledger, one bounded inbox.

    ``malformed`` counts bytes that were no message. ``raw=True`` gets those too, as the payload.
    """

    def __init__(self, pattern: str, *, limits: InboxLimits | None = None, raw: bool = False) -> None:
        self.pattern = check_pattern(pattern)
        self.inbox = Inbox(limits)
        self.ledger = Ledger()
        self.raw = raw
        self.malformed = 0

    def receive(self, items: list[list[bytes]], topics: Mapping[bytes, str]) -> None:
        """Enter messages as Redis pushed them: envelopes of ours, foreign messages, or what is neither."""
        entries: list[Entry] = []
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
        self.inbox.put(entries)

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
        return (topic, payload, body, len(body)) if self.ledger.admit(topic, value) else None

    def _malformed(self, topic: str, body: bytes) -> Entry | None:
        self.malformed += 1
        return self._foreign(topic, body, body) if self.raw else None

    def _foreign(self, topic: str, payload: Any, body: bytes) -> Entry:
        self.ledger.received += 1
        return topic, payload, foreign(payload), len(body)
