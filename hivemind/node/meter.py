"""How long handlers take, and messages on their way to them: measured now and then, so that it costs next to nothing.

At most one message every PERIOD is measured; it stands for all that were handled since the one before. So up to 200 a
second each is measured, and of more than that the histograms still count as many as were handled.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

from orjson import JSONDecodeError, loads

from ..data.histogram import Histogram, Packed, packed

PERIOD = 0.005  #: seconds between the begins of two that are measured
SHORT = 4096  #: bytes of an envelope that is worth reading again
NEVER = float("inf")
#: how our own envelopes begin: to read on would cost as much as the message is long
_TIME = re.compile(rb'\{"v":1,"n":"[^"\\]*","e":\d+,"s":\d+,"t":(\d+\.?\d*),')


class Meter:
    """Measures one worker, or several on one loop. One thread adds; ``times`` and ``delays`` may be read meanwhile.

    Whether a message is measured is said when it begins: how long it takes makes no difference.
    """

    __slots__ = ("_handled", "delays", "next", "times")

    def __init__(self) -> None:
        self.times, self.delays = Histogram(), Histogram()
        self.next = 0.0  # when one is to be measured again, by the clock of who calls
        self._handled = 0

    def begin(self, now: float) -> float:
        """When what begins ``now`` began, if it is to be measured, else NEVER."""
        if now < self.next:
            return NEVER
        self.next = now + PERIOD
        return now

    def plan(self, now: float, limit: float) -> tuple[float, float]:
        """As ``begin``, and when to look again: as soon as it has ended, if it is to be measured, else when one is to
        be measured again, but not after ``limit``.
        """
        began = self.begin(now)
        return began, min(limit, self.next) if began is NEVER else 0.0

    def add(self, began: float, ended: float, source: Any, handled: int) -> None:
        """Enter what was measured; nothing where ``began`` is NEVER. ``source`` is the message's envelope as it came or
        as it was read, None if its delay says nothing; ``handled`` counts what was handled so far.
        """
        if began is NEVER:
            return
        took, weight, self._handled = ended - began, max(1, handled - self._handled), handled
        self.times.add(took, weight)
        if source is not None and (sent := sent_at(source)) is not None:
            self.delays.add(time.time() - took - sent, weight)


def times_of(meters: Iterable[Meter]) -> Packed:
    """How long handlers took, by several meters."""
    return packed(one.times for one in meters)


def delays_of(meters: Iterable[Meter]) -> Packed:
    """How long messages took to their handlers, by several meters."""
    return packed(one.delays for one in meters)


def sent_at(source: Any) -> float | None:
    """When a message was sent, by its envelope; None where that does not say, as that of a foreign message."""
    if source.__class__ is bytes:
        if (found := _TIME.match(source, 0, 256)) is not None:
            return float(found[1])
        if len(source) > SHORT:
            return None
        try:
            source = loads(source)
        except JSONDecodeError:
            return None
    if source.__class__ is not dict or not source.get("n") or "v" not in source:
        return None
    said = source.get("t")
    return float(said) if isinstance(said, float | int) else None
