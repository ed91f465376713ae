"""What went wrong of late: by how much counters have grown in the last minute, and in the last hour. Pure."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from ..data.records import HOUR, MINUTE, ResponderRecord, ServiceRecord, Stats, SubscriptionRecord

STEPS = 12  #: looks that are remembered of a window
WRONG = ("failed", "invalid", "dropped", "missed", "malformed", "dead", "lost")  #: what should be 0
Counts = Mapping[str, int]
Heard = TypeVar("Heard", SubscriptionRecord, ResponderRecord)


class Window:
    """By how much each of some totals has grown in the last so many seconds, or a twelfth more."""

    __slots__ = ("_marks", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._marks: deque[tuple[float, Counts]] = deque([(-math.inf, {})])  # the first is as old as the window

    def of(self, totals: Counts, now: float) -> dict[str, int]:
        """What has grown, at a new look."""
        marks = self._marks
        if now - marks[-1][0] >= self._seconds / STEPS:
            marks.append((now, totals))
        while len(marks) > 1 and now - marks[1][0] >= self._seconds:
            marks.popleft()
        before = marks[0][1]
        return {name: more for name, total in totals.items() if (more := total - before.get(name, 0)) > 0}


class Lately:
    """Adds to what an instance says of itself how much of it is of the last minute, and of the last hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[object, ...], Window] = {}

    def added(self, stats: Stats) -> Stats:
        """The same, with that."""
        return replace(
            stats,
            services=tuple(self._service(at, one) for at, one in enumerate(stats.services)),
            subscriptions=tuple(self._handler("subscription", at, one) for at, one in enumerate(stats.subscriptions)),
            responders=tuple(self._handler("responder", at, one) for at, one in enumerate(stats.responders)),
            lately=self._grown(("instance",), HOUR, stats, ("unsent", "log_lost")),
        )

    def _service(self, at: int, one: ServiceRecord) -> ServiceRecord:
        return replace(one, failed_lately=self._grown(("service", at), MINUTE, one, ("restarts",)).get("restarts", 0))

    def _handler(self, kind: str, at: int, one: Heard) -> Heard:
        minute = self._grown((kind, at), MINUTE, one, ("failed", "handled"))
        hour = self._grown((kind, at), HOUR, one, (name for name in WRONG if hasattr(one, name)))
        return replace(one, failed_lately=minute.get("failed", 0), handled_lately=minute.get("handled", 0), lately=hour)

    def _grown(self, key: tuple[object, ...], seconds: float, one: object, names: Iterable[str]) -> dict[str, int]:
        window = self._windows.get((*key, seconds)) or self._windows.setdefault((*key, seconds), Window(seconds))
        return window.of({name: getattr(one, name) for name in names}, self._clock())
