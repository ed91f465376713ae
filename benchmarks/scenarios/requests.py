"""Requests and replies, in two processes: how long one takes, and how many a second there are when 20 are under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import quantiles

from ..bench import Bench, Case, Part, Readings, Setup, measure
from ..names import BARE, FASTSTREAM, NATS, OURS
from ..processes import node, peer
from ..task import Payload
from .latency import P50, P99, label
from .rate import is_here

AT_ONCE = 20
BACK_TO_BACK = ", back to back"

SETUPS: Mapping[str, Setup] = {
    OURS: Setup(node("ask"), [Part(node("respond"))], limit=1),
    BARE: Setup(peer("bare_hops", "ask"), [Part(peer("bare_hops", "respond"))], limit=1),
    FASTSTREAM: Setup(peer("fast_stream", "ask"), [Part(peer("fast_stream", "respond"))], limit=1),
    NATS: Setup(peer("nats_py", "ask"), [Part(peer("nats_py", "respond"))], "nats", limit=1),
}


def one_at_a_time(name: str) -> Case:
    """Measures the median and the 99th percentile, from asking to having the reply, in microseconds: one request every
    5 ms, as latency is measured elsewhere, and one right after the other.
    """
    kinds: dict[str, Payload] = {"": "clock", BACK_TO_BACK: "small"}
    labels = {kind: [label(f"{name}{kind}", part) for part in (P50, P99)] for kind in kinds}

    def once(bench: Bench) -> Readings:
        found: Readings = {}
        for kind, payload in kinds.items():
            cuts = quantiles(measure(bench, replace(SETUPS[name], payload=payload)).samples, n=100)
            found |= dict(zip(labels[kind], (cuts[49] / 1000, cuts[98] / 1000), strict=True))
        return found

    return Case(once, (*labels[""], *labels[BACK_TO_BACK]), is_here(name))


def many_at_once(name: str) -> Case:
    """Measures a rate."""
    setup = replace(SETUPS[name], limit=AT_ONCE)
    return Case(lambda bench: {name: measure(bench, setup).rate}, (name,), is_here(name))


CASES: Mapping[str, Case] = {name: one_at_a_time(name) for name in SETUPS}
RATES: Mapping[str, Case] = {name: many_at_once(name) for name in (OURS, FASTSTREAM, NATS)}
