"""On which topics a process sends beside its services: what handlers and hooks send, by the numbers of its messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ..bus.bus import Bus
from ..data.records import SentRecord

MOST = 64  #: topics that are told of one process: with more, those that it used last


def sends(bus: Bus, services: Collection[str]) -> tuple[SentRecord, ...]:
    """The topics of ``bus`` that are none of ``services``, by name. They are not counted: messages have numbers."""
    most = MOST + len(services)
    counts = Counter[str](bus.outbox.spool.counts(most))
    if bus.keeping is not None:
        counts.update(bus.keeping.spool.counts(most))
    found = [SentRecord(name, sent) for name, sent in counts.items() if sent and name not in services]
    return tuple(sorted(found[:MOST], key=lambda one: one.name))
