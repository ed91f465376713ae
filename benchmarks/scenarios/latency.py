"""From handing a message over to its handler, one message every 5 ms, in microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import quantiles

from ..bench import Bench, Part, Readings, Setup, measure
from ..processes import node
from .rate import BARE, FASTSTREAM, NATS, OURS, SETUPS, Case, is_here

_SETUPS = {
    OURS: Setup(node("send_thread"), [Part(node("handle_clock"))]),
    **{name: SETUPS[name] for name in (BARE, FASTSTREAM, NATS)},
}


def case(name: str, setup: Setup) -> Case:
    """Measures the median and the 99th percentile."""
    timed = replace(setup, payload="clock")

    def once(bench: Bench) -> Readings:
        cuts = quantiles(measure(bench, timed).samples, n=100)
        return {f"{name}, p50": cuts[49] / 1000, f"{name}, p99": cuts[98] / 1000}

    return once


CASES: Mapping[str, Case] = {name: case(name, setup) for name, setup in _SETUPS.items() if is_here(name)}
