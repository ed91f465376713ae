"""The loss ledger: what a subscription should have received, and what it did.

Pure bookkeeping over (sender, incarnation, topic, sequence): no clock, no I/O. For each sender and topic the next
sequence is known; what is skipped is missed, what comes again is a duplicate, what an older life of the sender says
is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..message import OTHER, Envelope, head, name_in, payload_after

MOST_SENDERS = 20_000  #: senders that one ledger remembers: names are free, and may be invented
LARGEST = 2**53 - 1  #: where a count of losses stops: invented sequences must not make a number that no JSON holds
MOST_SPEAKERS = 1_000  #: senders and topics of which the ledger knows how the next message begins
OnGap = Callable[[str, str, int, int], None]


class Speaker:
    """Who spoke last on a topic, and how its next message has to begin: comparing that is all that has to be done."""

    __slots__ = ("_expected", "_head", "_start", "_topic", "sender")

    def __init__(self, sender: _Sender, name: str, topic: str) -> None:
        self.sender = sender
        self._expected, self._topic = sender.expected, topic
        self._head = head(name, sender.incarnation).partition(b"%d")[0].replace(b"%%", b"%")
        self._start = b"%b%d," % (self._head, sender.expected[topic])

    def next(self, body: bytes) -> Any:
        """Enter ``body`` and return its payload, if that is its next message and has no headers; else return OTHER."""
        start = self._start
        if not body.startswith(start):
            return OTHER
        payload = payload_after(body, len(start))
        if payload is not OTHER:
            number = self._expected[self._topic] + 1
            self._expected[self._topic] = number
            self._start = b"%b%d," % (self._head, number)
        return payload


class _Sender:
    """One sender's newest life, and the sequence expected next on each topic."""

    __slots__ = ("expected", "from_start", "incarnation")

    def __init__(self, incarnation: int, from_start: bool) -> None:
        self.incarnation, self.from_start = incarnation, from_start
        self.expected: dict[str, int] = {}


class Ledger:
    """Counts for one subscription: ``received``, ``missed``, ``duplicate``, ``stale``.

    ``ready`` is when the subscription was ready, in unix milliseconds by Redis's clock: a sender whose incarnation
    is later began afterwards, so that its first message on a topic has to be number 1. Of an earlier sender, the
    first message seen is where counting begins. An incarnation after ``latest`` cannot be: it is a forgery, and stale,
    or else it would silence the real sender. ``on_gap(topic, sender, first, last)`` is told of every gap,
    ``on_sender(name)`` of every sender that is heard for the first time. ``speakers`` has, by topic, who spoke last.
    """

    def __init__(self) -> None:
        self.ready = self.latest = float("inf")
        self.on_gap: OnGap | None = None
        self.on_sender: Callable[[str], None] | None = None
        self.received = self.missed = self.duplicate = self.stale = 0
        self._senders: dict[str, _Sender] = {}
        self.speakers: dict[str, Speaker] = {}
        self._known: dict[tuple[str, bytes], Speaker] = {}  # by topic and sender: those that spoke before, too

    def admit(self, topic: str, envelope: Envelope) -> bool:
        """Enter one message; False if no handler may see it. The envelope's fields have been checked."""
        name, sequence = envelope["n"], envelope["s"]
        sender = self._life(name, envelope["e"])
        if sender is None:
            self.stale += 1
            return False
        expected = sender.expected.get(topic, 1 if sender.from_start else sequence)
        if sequence < expected:
            self.duplicate += 1
            return False
        if sequence > expected:
            self._miss(topic, name, expected, sequence - 1)
        sender.expected[topic] = sequence + 1
        self.received += 1
        self._remember(Speaker(sender, name, topic), name, topic)
        return True

    def other(self, topic: str, body: bytes) -> Any:
        """Enter ``body`` and return its payload, if it is the next message of one who spoke on the topic before, but
        not last; else return OTHER.
        """
        speaker = self._known.get((topic, name_in(body)))
        if speaker is None or (payload := speaker.next(body)) is OTHER:
            return OTHER
        self.speakers[topic] = speaker
        self.received += 1
        return payload

    def tail(self, name: str, incarnation: int, last: Mapping[str, int]) -> None:
        """Enter what a sender says it sent last on each topic: what has not come by now will not come."""
        sender = self._life(name, incarnation)
        if sender is None:
            return
        for topic, sequence in last.items():
            expected = sender.expected.get(topic, 1 if sender.from_start else sequence + 1)
            if sequence >= expected:
                self._miss(topic, name, expected, sequence)
                self._forget_speaker(topic, name.encode())
            sender.expected[topic] = max(expected, sequence + 1)

    def forget(self, name: str) -> None:
        """Drop what is known of a sender that seems to have gone; if it has not, counting begins anew with it."""
        sender = self._senders.pop(name, None)
        if sender is None:
            return
        self._silence(sender)
        if sender.incarnation > self.ready:
            self.ready = sender.incarnation

    def _life(self, name: str, incarnation: int) -> _Sender | None:
        """The sender in this life; None when a newer life of it is known."""
        if incarnation > self.latest:
            return None
        sender = self._senders.get(name)
        if sender is None:
            if len(self._senders) >= MOST_SENDERS:
                self.forget(next(iter(self._senders)))
            sender = self._senders[name] = _Sender(incarnation, incarnation > self.ready)
            if self.on_sender is not None:
                self.on_sender(name)
        elif incarnation > sender.incarnation:
            self._silence(sender)
            sender = self._senders[name] = _Sender(incarnation, True)
        return sender if sender.incarnation == incarnation else None

    def _remember(self, speaker: Speaker, name: str, topic: str) -> None:
        if len(self._known) >= MOST_SPEAKERS:
            self._known.clear()
            self.speakers.clear()
        self._known[topic, name.encode()] = self.speakers[topic] = speaker

    def _forget_speaker(self, topic: str, name: bytes) -> None:
        speaker = self._known.pop((topic, name), None)
        if speaker is not None and self.speakers.get(topic) is speaker:
            del self.speakers[topic]

    def _silence(self, sender: _Sender) -> None:
        for topic, name in [key for key, speaker in self._known.items() if speaker.sender is sender]:
            self._forget_speaker(topic, name)

    def _miss(self, topic: str, sender: str, first: int, last: int) -> None:
        self.missed = min(self.missed + last - first + 1, LARGEST)
        if self.on_gap is not None:
            self.on_gap(topic, sender, first, last)
