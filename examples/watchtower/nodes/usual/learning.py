"""What is usual of one series: pure.

The first samples are only collected; their median is where learning begins, so that a busy start does no harm. Then
mean and mean deviation move with exponentially falling weights. A sample counts for no more than ``CLIP`` deviations,
so that one busy spell does not become usual at once; one that lasts does, in time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

CLIP = 3.0  # deviations
LEAST = 0.01  # of the mean: the least deviation, for a series that never moves


@dataclass(frozen=True, slots=True)
class Usual:
    """What is known so far: ``first`` samples while it is collecting them, then ``mean`` and ``deviation``."""

    first: tuple[float, ...] = ()
    mean: float = 0.0
    deviation: float = 0.0
    known: bool = False


def learned(before: Usual, value: float, *, warmup: int, half_life: float) -> Usual:
    """What is usual after one more sample. ``warmup`` and ``half_life`` are numbers of samples."""
    if not before.known:
        first = (*before.first, value)
        middle = median(first)
        spread = max(median(abs(one - middle) for one in first), LEAST * abs(middle))
        is_known = len(first) >= warmup
        return Usual(() if is_known else first, middle, spread, is_known)
    weight = 1 - 0.5 ** (1 / half_life)
    off = clipped(value - before.mean, CLIP * before.deviation)
    mean = before.mean + weight * off
    deviation = before.deviation + weight * (abs(off) - before.deviation)
    return replace(before, mean=mean, deviation=max(deviation, LEAST * abs(mean)))


def clipped(value: float, most: float) -> float:
    """``value``, but no further from 0 than ``most``."""
    return max(-most, min(most, value))
