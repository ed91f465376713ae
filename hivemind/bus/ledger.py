"""The loss ledger: what a subscription should have received, and what it did.

Pure bookkeeping over (sender, incarnation, topic, sequence): no clock, no I/O. For each sender and topic the next
sequence is known; what is skipped is missed, what comes again is a duplicate, what an older life of the sender says
is stale. What is skipped on a topic that is kept is a hole, which somebody may fill, before it is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from ..message import OTHER, Envelope
from .holes import Hole, Place

MOST_PLACES = 100_000  #: senders, on kept topics, of which one ledger remembers no more than how far they were
MOST_SENDERS = 20_000  #: senders that one ledger remembers: names are free, and may be invented
LARGEST = 2**53 - 1  #: where a count of losses stops: invented sequences must not make a number that no JSON holds
MEMBERS = len("vnestd")  #: of an envelope without headers
OnGap = Callable[[str, str, int, int], None]


class Line:
    """What one life of a sender says on one topic; ``next`` is the sequence that has to come."""

    __slots__ = ("incarnation", "name", "next")

    def __init__(self, name: str, incarnation: int, expected: int) -> None:
        self.name, self.incarnation, self.next = name, incarnation, expected

    def payload(self, value: Any) -> Any:
        """The payload of ``value``, which anybody may have published, if it is just the next message of this line;
        then it is entered, and nothing else about it needs to be looked at. Else OTHER.
        """
        try:
            if (
                value["s"] == self.next
                and value["n"] == self.name
                and value["e"] == self.incarnation
                and value["v"] == 1
                and len(value) == MEMBERS
                and value["t"].__class__ is float
            ):
                payload = value["d"]
                self.next += 1
                return payload
        except (KeyError, TypeError):  # no envelope, or one that has to be looked at
            pass
        return OTHER


class _Sender:
    """One sender's newest life, and its lines."""

    __slots__ = ("from_start", "incarnation", "lines")

    def __init__(self, incarnation: int, from_start: bool) -> None:
        self.incarnation, self.from_start = incarnation, from_start
        self.lines: dict[str, Line] = {}


class Ledger:
    """Counts for one subscription: ``received``, of these ``filled`` afterwards, ``missed``, ``duplicate``, ``stale``.

    ``ready`` is when the subscription was ready, in unix milliseconds by Redis's clock: a sender whose incarnation
    is later began afterwards, so that its first message on a topic has to be number 1, and so has everybody's on
    ``new_topics``, which were first used afterwards. Else the first message seen is where counting begins. An
    incarnation after ``latest`` cannot be: it is a forgery, and stale, or else it would silence the real sender.
    ``on_gap(topic, sender, first, last)`` is told of every gap, ``on_sender(name)`` of every sender that is heard for
    the first time. ``latest_lines`` has, by topic, the line that was heard last: the next message is most likely of
    the same. On topics that are in ``kept`` what was skipped is not missed yet: ``on_hole(hole)`` is told, and whoever
    is gives it to ``settle``.
    """

    def __init__(self) -> None:
        self.ready = self.latest = float("inf")
        self.on_gap: OnGap | None = None
        self.on_sender: Callable[[str], None] | None = None
        self.kept: Container[str] = frozenset()
        self.on_hole: Callable[[Hole], None] = self.settle
        self.received = self.filled = self.missed = self.duplicate = self.stale = 0
        self.latest_lines: dict[str, Line] = {}
        self.new_topics: set[str] = set()
        self._senders: dict[str, _Sender] = {}
        self._forgotten: dict[str, int] = {}  # the newest lives of senders that were forgotten
        self._began = 0.0  # when holes began to be filled
        self._places: dict[tuple[str, str], Place] = {}  # by sender and kept topic, what comes next, where no line says
        self._has_all_places = True

    def admit(self, topic: str, envelope: Envelope) -> bool:
        """Enter one message; False if no handler may see it. The envelope's fields have been checked."""
        name, sequence = envelope["n"], envelope["s"]
        sender = self._life(name, envelope["e"])
        if sender is None:
            self.stale += 1
            return False
        line = sender.lines.get(topic)
        expected = line.next if line is not None else self._first(sender, topic, sequence)
        if sequence != expected or line is None:
            if sequence < expected:
                self.duplicate += 1
                return False
            self._skip(sender, name, topic, expected, sequence - 1)
        self.latest_lines[topic] = self._expect(sender, name, topic, sequence + 1)
        self.received += 1
        return True

    def tail(self, name: str, incarnation: int, last: Mapping[str, int]) -> None:
        """Enter what a sender says it sent last on each topic: what has not come by now will not come."""
        sender = self._life(name, incarnation)
        if sender is None:
            return
        for topic, sequence in last.items():
            line = sender.lines.get(topic)
            expected = line.next if line is not None else self._first(sender, topic, sequence + 1)
            if sequence >= expected or line is None:
                self._skip(sender, name, topic, expected, sequence)
            self._expect(sender, name, topic, max(expected, sequence + 1))

    def forget(self, name: str) -> None:
        """Drop what is known of a sender that seems to have gone; if it has not, counting begins anew with it."""
        sender = self._senders.pop(name, None)
        if sender is None:
            return
        self._silence(sender)
        if sender.incarnation > self.ready:
            self._forgotten[name] = sender.incarnation
            if len(self._forgotten) > MOST_SENDERS:  # then all who began before one of them
                self.ready = max(self.ready, self._forgotten.pop(next(iter(self._forgotten))))

    def places(self) -> dict[str, tuple[int, dict[str, int]]]:
        """Of each sender its life, and the number by topic of the last message that came or will not come any more."""
        return {
            name: (sender.incarnation, {topic: line.next - 1 for topic, line in sender.lines.items()})
            for name, sender in self._senders.items()
        }

    # -- topics that are kept

    def keep(self, kept: Container[str], now: float) -> None:
        """From now on, unix milliseconds by Redis's clock, holes on topics in ``kept`` may be filled."""
        self.kept, self._began = kept, now

    def recall(self, topic: str, envelope: Envelope) -> bool:
        """Enter a message from before the subscription: nothing between it and the one before is missed. False if no
        handler may see it.
        """
        name, sequence = envelope["n"], envelope["s"]
        sender = self._life(name, envelope["e"])
        line = sender.lines.get(topic) if sender is not None else None
        if sender is None or (line is not None and sequence < line.next):
            return False
        self._expect(sender, name, topic, sequence + 1)
        self.received += 1
        return True

    def begin_after(self, topic: str, name: str, place: Place) -> None:
        """Enter what a sender had sent last on a kept topic when we began."""
        sender = self._senders.get(name)
        if sender is not None and topic in sender.lines:
            self.tail(name, place[0], {topic: place[1]})
        else:
            self._remember(name, topic, (place[0], place[1] + 1))

    def catch_up(self, topic: str, name: str, place: Place) -> None:
        """Enter what a sender has sent last on a kept topic by now, whether or not we ever heard of it."""
        if self._places.get((name, topic)) != (place[0], place[1] + 1):
            self.tail(name, place[0], {topic: place[1]})

    def settle(self, hole: Hole) -> None:
        """Count what was found of a hole, and what was not."""
        hole.is_settled = True
        self.filled += len(hole.found)
        self.received += len(hole.found)
        for first, last in hole.missing():
            self._miss(hole.topic, hole.sender, first, last)

    def _skip(self, sender: _Sender, name: str, topic: str, expected: int, last: int) -> None:
        """What has to come next is what stands behind number ``last``."""
        if topic in self.kept:
            if (hole := self._hole(sender, name, topic, expected, last)) is not None:
                self.on_hole(hole)
        elif last >= expected:
            self._miss(topic, name, expected, last)

    def _hole(self, sender: _Sender, name: str, topic: str, expected: int, last: int) -> Hole | None:
        end, is_sure = (sender.incarnation, last), True
        if topic in sender.lines:
            first = (sender.incarnation, expected)
        elif (place := self._places.pop((name, topic), None)) is not None:
            first = place
        else:
            first = (sender.incarnation, 1)
            is_sure = last >= expected  # else it may have begun long before us
            if not self._has_all_places:  # then what came already would come again
                if is_sure:
                    self._miss(topic, name, expected, last)
                return None
        if first > end:
            return None
        return Hole(topic, name, first, end, is_sure=is_sure, after=self._began)

    def _remember(self, name: str, topic: str, place: Place) -> None:
        if len(self._places) >= MOST_PLACES:
            self._places.clear()
            self._has_all_places = False
        self._places[name, topic] = place

    def _life(self, name: str, incarnation: int) -> _Sender | None:
        """The sender in this life; None when a newer life of it is known."""
        if incarnation > self.latest:
            return None
        sender = self._senders.get(name)
        if sender is None:
            if len(self._senders) >= MOST_SENDERS:
                self.forget(next(iter(self._senders)))
            known = max(self.ready, self._forgotten.pop(name, 0))
            sender = self._senders[name] = _Sender(incarnation, incarnation > known)
            if self.on_sender is not None:
                self.on_sender(name)
        elif incarnation > sender.incarnation:
            self._silence(sender)
            sender = self._senders[name] = _Sender(incarnation, True)
        return sender if sender.incarnation == incarnation else None

    def _first(self, sender: _Sender, topic: str, heard: int) -> int:
        return 1 if sender.from_start or topic in self.new_topics else heard

    def _expect(self, sender: _Sender, name: str, topic: str, sequence: int) -> Line:
        line = sender.lines.get(topic)
        if line is None:
            line = sender.lines[topic] = Line(name, sender.incarnation, sequence)
        line.next = sequence
        return line

    def _silence(self, sender: _Sender) -> None:
        """What this life of the sender still says is looked at, and found stale."""
        for topic, line in sender.lines.items():
            if topic in self.kept:
                self._remember(line.name, topic, (line.incarnation, line.next))
            if self.latest_lines.get(topic) is line:
                del self.latest_lines[topic]

    def _miss(self, topic: str, sender: str, first: int, last: int) -> None:
        self.missed = min(self.missed + last - first + 1, LARGEST)
        if self.on_gap is not None:
            self.on_gap(topic, sender, first, last)
