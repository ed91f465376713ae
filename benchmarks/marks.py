"""What a row is held to, and whether it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Round = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """The reading ``label``, divided by the reading ``of`` where one is named, is wanted within ``bound``."""

    label: str
    bound: str  # "≥" or "≤"
    wanted: float
    of: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The readings that it needs."""
        return (self.label, self.of) if self.of else (self.label,)

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.label} ÷ {self.of}" if self.of else self.label

    def value(self, rounds: Sequence[Round]) -> float | None:
        """The median over all rounds that have what it needs; None if none has."""
        values = [value for one in rounds if (value := self._in(one)) is not None]
        return median(values) if values else None

    def is_met(self, rounds: Sequence[Round]) -> bool | None:
        """Whether it is; None when it was not measured."""
        value = self.value(rounds)
        if value is None:
            return None
        return value >= self.wanted if self.bound == "≥" else value <= self.wanted

    def _in(self, one: Round) -> float | None:
        if self.label not in one or (self.of and not one.get(self.of)):
            return None
        return one[self.label] / one[self.of] if self.of else one[self.label]


def at_least(label: str, wanted: float, *, of: str = "") -> Mark:
    """The more the better."""
    return Mark(label, "≥", wanted, of)


def at_most(label: str, wanted: float, *, of: str = "") -> Mark:
    """The less the better."""
    return Mark(label, "≤", wanted, of)
