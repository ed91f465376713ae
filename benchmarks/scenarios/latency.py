"""From handing a message over to its handler, one message every 5 ms, in microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import quantiles

from ..bench import Bench, Case, Part, Readings, Setup, measure
from ..names import BARE, FASTSTREAM, NATS, OURS
from ..processes import node
from .rate import SETUPS, is_here

P50, P99 = "p50", "p99"

_SETUPS = {
    OURS: Setup(node("send_thread"), [Part(node("handle_clock"))]),
    **{name: SETUPS[name] for name in (BARE, FASTSTREAM, NATS)},
}


def case(name: str, setup: Setup) -> Case:
    """Measures the median and the 99th percentile."""
    timed = replace(setup, payload="clock")

    def once(bench: Bench) -> Readings:
        cuts = quantiles(measure(bench, timed).samples, n=100)
        return {label(name, P50): cuts[49] / 1000, label(name, P99): cuts[98] / 1000}

    return Case(once, (label(name, P50), label(name, P99)), is_here(name))


def label(name: str, part: str) -> str:
    """The reading of the median, or of the 99th percentile."""
    return f"{name}, {part}"


CASES: Mapping[str, Case] = {name: case(name, setup) for name, setup in _SETUPS.items()}
