"""Measures the cases of a row in turn, round after round, so that what slows the machine slows all of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from redis import RedisError

from hivemind import HivemindError

from .bench import Bench, Lost, Readings
from .marks import Mark
from .processes import Crashed
from .rows import Row

FAULTS = (Lost, Crashed, TimeoutError, RedisError, HivemindError, OSError, subprocess.SubprocessError)


@dataclass(slots=True)
class Outcome:
    """What the rounds of one row found; ``faults`` are cases that failed, in words."""

    row: Row
    rounds: list[Readings] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def labels(self) -> list[str]:
        """All readings, in the order of the cases."""
        return list(dict.fromkeys(label for one in self.rounds for label in one))

    def values(self, label: str) -> list[float]:
        """One reading in all rounds that have it."""
        return [one[label] for one in self.rounds if label in one]

    def median(self, label: str) -> float:
        """The value that is shown."""
        return median(self.values(label))

    @property
    def is_wanting(self) -> bool:
        """Whether a mark is missed, or a case failed."""
        return bool(self.faults) or any(is_met is False for _, _, is_met in self.verdicts())

    def verdicts(self) -> list[tuple[Mark, float | None, bool | None]]:
        """Each mark, its value, and whether it is met (None: not measured)."""
        return [(mark, mark.value(self.rounds), mark.is_met(self.rounds)) for mark in self.row.marks]


def run(row: Row, bench: Bench, rounds: int, say: Callable[[str], None]) -> Outcome:
    """Measure a row."""
    outcome = Outcome(row)
    cases = row.quick if bench.is_quick and row.quick else tuple(row.cases)
    for number in range(rounds):
        found: Readings = {}
        for name in turned(cases, number):
            try:
                found |= row.cases[name](bench)
            except FAULTS as error:
                outcome.faults.append(f"{name}: {type(error).__name__}: {error}")
                say(f"  {outcome.faults[-1]}")
        outcome.rounds.append(found)
        say(f"  round {number + 1} of {rounds}: " + "; ".join(f"{label} {short(found[label])}" for label in found))
    return outcome


def turned(cases: tuple[str, ...], number: int) -> Iterator[str]:
    """The cases, each round beginning with another one."""
    start = number % len(cases)
    yield from cases[start:]
    yield from cases[:start]


def short(value: float) -> str:
    """A number as people read it."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
