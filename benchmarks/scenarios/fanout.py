"""One publisher to many subscribers: what Redis spends on a delivery, and how many deliveries come through.

Hivemind's subscribers are clients, ten in a process, each with connections of its own. Beside them the same publisher
to subscribers that only count bytes: that is what Redis itself can do.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..bench import TOPIC, Bench, Case, Part, Readings, Setup, measure
from ..names import DISCARDING, OURS
from ..processes import node, peer

SIZES = (1, 10, 100)
IN_A_PROCESS = 10
CHANNEL = f"hm:default:t:{TOPIC}"  #: as docs/wire.md says
UNDER_WAY = 1_000  #: messages to one subscriber, where there are many


def setup(kind: str, subscribers: int) -> Setup:
    """Who takes part."""
    limit = 20_000 if subscribers == 1 else UNDER_WAY
    if kind == DISCARDING:
        counting = Part(peer("discarding", "subscribe"), subscribers, subscribers)
        return Setup(node("send"), [counting], pattern=CHANNEL, limit=limit)
    each = min(subscribers, IN_A_PROCESS)
    parts = [Part(peer("clients", "subscribe"), each, each)] * (subscribers // each)
    return Setup(node("send"), parts, limit=limit)


def case(kind: str) -> Case:
    """Measures CPU of Redis for a delivery, in microseconds, deliveries a second, and how a message's cost grows."""

    def once(bench: Bench) -> Readings:
        readings: Readings = {}
        costs = []
        for subscribers in SIZES:
            found = measure(bench, setup(kind, subscribers))
            deliveries = sum(found.handled)
            readings[cost(kind, subscribers)] = found.server_cpu / deliveries * 1e6
            readings[deliveries_a_second(kind, subscribers)] = deliveries / found.seconds
            costs.append(found.server_cpu / deliveries * subscribers)
        return readings | {growth(kind): costs[-1] / costs[0]}

    each = [label for size in SIZES for label in (cost(kind, size), deliveries_a_second(kind, size))]
    return Case(once, (*each, growth(kind)))


def cost(kind: str, subscribers: int) -> str:
    """The reading that says what a delivery costs Redis."""
    return f"{kind}, {subscribers}: µs of Redis"


def deliveries_a_second(kind: str, subscribers: int) -> str:
    """The reading that says how many there are."""
    return f"{kind}, {subscribers}: deliveries/s"


def growth(kind: str) -> str:
    """The reading that says how many times as much a message to the most costs Redis as one to a single subscriber."""
    return f"{kind}, {SIZES[0]} → {SIZES[-1]}: times the cost"


CASES: Mapping[str, Case] = {kind: case(kind) for kind in (OURS, DISCARDING)}
