"""Measures the cases of a row in turn, round after round, so that what slows the machine slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from .bench import Bench, Case, Lost, Readings
from .marks import Mark
from .rows import Row


@dataclass(slots=True)
class Outcome:
    """What the rounds of one row found; ``faults`` are cases that failed, in words, ``left_out`` those that did not
    run.
    """

    row: Row
    left_out: tuple[str, ...] = ()
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
        """Each mark, its value, and whether it is met. None: a case that it needs was left out."""
        return [(mark, mark.value(self.rounds), self._is_met(mark)) for mark in self.row.marks]

    def _is_met(self, mark: Mark) -> bool | None:
        is_met = mark.is_met(self.rounds)
        if is_met is not None:
            return is_met
        absent = {label for name in self.left_out for label in self.row.cases[name].labels}
        return False if absent.isdisjoint(mark.labels) else None


def chosen(row: Row, bench: Bench) -> tuple[str, ...]:
    """The cases that are measured: all, or those of a quick run, as far as what they need is here."""
    names = row.quick if bench.is_quick and row.quick else row.cases
    return tuple(name for name in names if row.cases[name].is_here)


def run(outcome: Outcome, bench: Bench, rounds: int, say: Callable[[str], None]) -> None:
    """Measure the row of ``outcome``, and enter there what is found as soon as it is."""
    cases = outcome.row.cases
    names = chosen(outcome.row, bench)
    outcome.left_out = tuple(name for name in cases if name not in names)
    for number in range(rounds):
        found: Readings = {}
        outcome.rounds.append(found)
        for name in turned(names, number):
            try:
                found |= measured(cases[name], bench)
            except Exception as error:  # noqa: BLE001 - whatever fails in one case, the others are measured
                outcome.faults.append(f"{name}: {type(error).__name__}: {error}")
                say(f"  {outcome.faults[-1]}")
        say(f"  round {number + 1} of {rounds}: " + "; ".join(f"{label} {short(found[label])}" for label in found))


def measured(case: Case, bench: Bench) -> Readings:
    """The readings of one case. Raises Lost when they are not those that it promises."""
    found = case.measure(bench)
    if set(found) != set(case.labels):
        raise Lost(f"it gave {', '.join(found)}, and not {', '.join(case.labels)}")
    return found


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
