"""When to raise an alert: pure. One alert a spell; a spell ends only when things are well below what began it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..common.records import Compared

FAR, NEAR = 4.0, 2.0  # deviations above usual: where a spell begins, and below which it ends
CALM = 0.8  # of the floor: below that a spell ends, too


@dataclass(frozen=True, slots=True)
class Spell:
    """``run``: how many samples in a row spoke against the present state. ``is_on``: whether a spell goes on."""

    run: int = 0
    is_on: bool = False


def judged(before: Spell, now: Compared, *, floor: float, samples: int) -> tuple[Spell, bool]:
    """The spell after one more sample, and whether an alert is to be raised."""
    if before.is_on:
        speaks_against = now.known and (now.value < now.usual + NEAR * now.deviation or now.value < CALM * floor)
    else:
        speaks_against = now.known and now.value > now.usual + FAR * now.deviation and now.value > floor
    if not speaks_against:
        return replace(before, run=0), False
    if before.run + 1 < samples:
        return replace(before, run=before.run + 1), False
    return Spell(0, not before.is_on), not before.is_on


def in_words(series: str, now: Compared) -> str:
    """What an alert says."""
    return f"{series} is at {now.value:,.1f} {now.unit}; usual is {now.usual:,.1f} ± {now.deviation:,.1f}"
