"""Where senders and durable readers do not agree: who waits for a topic that nobody keeps yet, and who gets nothing,
because what it asks for is sent, but not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..topics import matches
from .entries import UNSEEN, KeptTopic, Reading
from .records import Instance

UNKEPT = "unkept"  #: the kind of notice by which a sender tells a reader


@dataclass(frozen=True, slots=True)
class Unkept:
    """A topic that ``instance`` sends without ``keep`` or ``durable``, though ``reading`` asks for it durably."""

    topic: str
    instance: str
    reading: Reading

    @property
    def text(self) -> str:
        """What is wrong, and what to do."""
        reading = self.reading
        return (
            f"{self.topic} is not kept, but group {reading.group} reads {reading.pattern} durably, and gets nothing of "
            f"what {self.instance} sends there: declare a service for it with durable=True or keep=, or the "
            "subscription without durable=True"
        )


@dataclass(frozen=True, slots=True)
class Mismatches:
    """Readers that are ``waiting`` for a topic to be there, which is no error; and what is one."""

    waiting: tuple[Reading, ...]
    unkept: tuple[Unkept, ...]


def mismatches(
    instances: Iterable[Instance], topics: Sequence[KeptTopic], readings: Sequence[Reading], now: int
) -> Mismatches:
    """What does not fit together: after the registry, and after what ``Kept`` remembers; ``now`` is Redis's time in
    unix milliseconds. Who has retired waits for nothing.
    """
    living = [one for one in readings if not one.is_retired(now)]
    kept = {one.topic for one in topics if now - one.seen <= UNSEEN}
    live = {
        (service.name, one.instance)
        for one in instances
        for service in one.stats.services
        if not one.is_lost and (service.kept == "live" or (not service.kept and service.name not in kept))
    }
    unkept = tuple(unkept_among(live, living))
    wrong = {one.reading for one in unkept}
    waiting = [one for one in living if not any(matches(one.pattern, each.topic) for each in topics)]
    return Mismatches(tuple(one for one in waiting if one not in wrong), unkept)


def unkept_among(live: Iterable[tuple[str, str]], readings: Collection[Reading]) -> list[Unkept]:
    """Of topics that instances send and nobody keeps, those that ``readings`` ask for."""
    return [
        Unkept(topic, instance, reading)
        for topic, instance in sorted(live)
        for reading in readings
        if matches(reading.pattern, topic)
    ]
