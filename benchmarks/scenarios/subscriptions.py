"""What a message costs a node with many subscriptions, of which one matches: microseconds of the node's CPU."""

from __future__ import annotations

from collections.abc import Mapping

from ..bench import Bench, Case, Part, Readings, Setup, measure
from ..processes import node

SIZES = (1, 1_000)


def case(subscriptions: int) -> Case:
    """Measures CPU of the subscriber's process."""
    setup = Setup(node("send"), [Part(node("handle_many"), subscriptions)])

    def once(bench: Bench) -> Readings:
        found = measure(bench, setup)
        return {name(subscriptions): found.subscriber_cpu / sum(found.handled) * 1e6}

    return Case(once, (name(subscriptions),))


def name(subscriptions: int) -> str:
    """How it is called in the table."""
    return f"{subscriptions:,} subscription{'s' if subscriptions > 1 else ''}"


CASES: Mapping[str, Case] = {name(subscriptions): case(subscriptions) for subscriptions in SIZES}
