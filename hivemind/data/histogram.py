"""Histograms of seconds: how many of what was measured took how long, in buckets that are the same everywhere.

What travels is ``Packed``: the sum in whole microseconds, the number of the first bucket that has any, then how many
each has from there on; ``()`` while nothing was measured. Most handlers need a few buckets only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import zip_longest

Packed = tuple[int, ...]

BOUNDS = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0),
)
"""The seconds up to which each bucket counts, its bound included; one more has all that took longer."""
BUCKETS = len(BOUNDS) + 1
MOST = 2**53 - 1  #: every language can read it from JSON
MICRO = 1_000_000
LONGEST = 1e9  #: seconds; what seems to have taken longer comes from a clock that is wrong, or from an attacker


class Histogram:
    """Counts what took how long. One writes; others may read meanwhile."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.total = 0.0  # seconds

    def add(self, seconds: float, weight: int = 1) -> None:
        """Count ``weight`` times that something took so long; less than nothing, of clocks that differ, is nothing."""
        seconds = min(max(0.0, seconds), LONGEST)
        self.counts[bisect_left(BOUNDS, seconds)] += weight
        self.total += seconds * weight


def packed(histograms: Iterable[Histogram]) -> Packed:
    """Several together, as they travel."""
    found = list(histograms)
    counts = [sum(each) for each in zip(*(one.counts for one in found), strict=True)]
    used = [at for at, count in enumerate(counts) if count]
    if not used:
        return ()
    total = min(MOST, int(sum(one.total for one in found) * MICRO))
    return (total, used[0], *counts[used[0] : used[-1] + 1])


def packed_from(raw: object) -> Packed:
    """Read what somebody stored: ``()`` for all that is no histogram."""
    if not isinstance(raw, list) or not 3 <= len(raw) <= 2 + BUCKETS:
        return ()
    if not all(each.__class__ is int and 0 <= each <= MOST for each in raw) or len(raw) - 2 + raw[1] > BUCKETS:
        return ()
    return tuple(raw)


def counts_in(histogram: Packed) -> list[int]:
    """How many each bucket has, all of them."""
    counts = [0] * BUCKETS
    if histogram:
        counts[histogram[1] : histogram[1] + len(histogram) - 2] = histogram[2:]
    return counts


def seconds_in(histogram: Packed) -> float:
    """All that was measured, summed."""
    return histogram[0] / MICRO if histogram else 0.0


def growth(older: Packed, newer: Packed) -> list[int]:
    """What each bucket got between two looks, from the first that is known on; [] where that is nothing."""
    if older == newer or not newer:
        return []
    if older and older[1] != newer[1]:
        older = (0, newer[1], *counts_in(older)[newer[1] :])
    counts = [max(0, now - before) for now, before in zip_longest(newer[2:], older[2:], fillvalue=0)]
    return [0] * newer[1] + counts if any(counts) else []


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The seconds within which ``share`` (0 to 1) of what was counted was done; None of nothing.

    As Prometheus reckons it: evenly spread within a bucket, and of what is above the last bound that bound.
    """
    wanted, below = share * sum(counts), 0
    for at, count in enumerate(counts):
        if count:
            if below + count >= wanted:
                if at == len(BOUNDS):
                    return BOUNDS[-1]
                low = BOUNDS[at - 1] if at else 0.0
                return low + (BOUNDS[at] - low) * (wanted - below) / count
            below += count
    return None
