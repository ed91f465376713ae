"""What came of a drill, in words and as JSON: held against what is promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .limits import Limits

SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Allowed:
    """How many messages may be lost (None: any number) and doubled after this fault, at the rate of that moment."""

    lost: int | None
    doubled: int


@dataclass(frozen=True, slots=True)
class Report:
    """One drill. ``noticed`` and ``back`` are seconds, None if it did not come to that; ``missed`` are live messages
    that never came, ``uncounted`` those among them that no ledger counted; ``restarted`` are instances that got a new
    life though they were not hit. ``why`` says why the drill went no further; ``stretch`` how many times slower than
    usual the machine is, by which times are judged.
    """

    fault: str
    target: str
    limits: Limits
    allowed: Allowed
    noticed: float | None = None
    back: float | None = None
    sent: int = 0
    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    missed: int = 0
    uncounted: int = 0
    restarted: tuple[str, ...] = ()
    why: str = ""
    stretch: float = 1.0
    at: str = ""
    server: str = ""
    broken: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "broken", tuple(self._broken()))

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken

    def _broken(self) -> list[str]:
        """The promises that were not kept, each in a few words."""
        limits = self.limits.stretched(self.stretch)
        if self.why:
            return [self.why]
        found = []
        for what, seconds, limit in (("noticed", self.noticed, limits.noticed), ("back", self.back, limits.back)):
            if seconds is None or seconds > limit + SLACK:
                found.append(f"{what} after {_seconds(seconds)}, promised {limit:g} s")
        if self.allowed.lost is not None and self.lost > self.allowed.lost:
            found.append(f"{self.lost:,} lost, promised at most {self.allowed.lost:,}")
        if self.doubled > self.allowed.doubled:
            found.append(f"{self.doubled:,} doubled, promised at most {self.allowed.doubled:,}")
        if self.out_of_order:
            found.append(f"{self.out_of_order:,} out of order, promised none")
        if self.uncounted:
            found.append(f"{self.uncounted:,} live messages missed, and counted by nobody")
        if self.restarted:
            found.append(f"restarted without need: {', '.join(self.restarted)}")
        return found

    @property
    def words(self) -> str:
        """All of it in one line."""
        what = f"{self.fault}{f' {self.target}' if self.target not in self.fault.split() else ''}"
        if self.why:
            return f"{what}: {self.why}"
        times = f"noticed after {_seconds(self.noticed)}, back {_seconds(self.back)} {self._since}"
        missed = f", {self.missed:,} live ones missed and counted" if self.missed and not self.uncounted else ""
        figures = (
            f"{self.sent:,} messages: {self.lost:,} lost, {self.doubled:,} doubled, {self.out_of_order:,} out of order"
        )
        limits = self.limits.stretched(self.stretch)
        verdict = f"NOT KEPT: {'; '.join(self.broken)}" if self.broken else "kept"
        lost = "any number" if self.allowed.lost is None else f"at most {self.allowed.lost:,}"
        promised = (
            f"noticed within {limits.noticed:g} s, back within {limits.back:g} s, {lost} lost, "
            f"at most {self.allowed.doubled:,} doubled, 0 out of order"
        )
        return f"{what}: {times}; {figures}{missed} (promised: {promised}): {verdict}"

    @property
    def _since(self) -> str:
        return "after the cause was gone" if self.limits.from_end else "after it began"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; stable names."""
        return {
            "fault": self.fault,
            "target": self.target,
            "noticed": _rounded(self.noticed),
            "back": _rounded(self.back),
            "sent": self.sent,
            "lost": self.lost,
            "doubled": self.doubled,
            "out_of_order": self.out_of_order,
            "missed": self.missed,
            "uncounted": self.uncounted,
            "restarted": list(self.restarted),
            "limits": {
                **self.limits.to_json(),
                "lost_messages": self.allowed.lost,
                "doubled_messages": self.allowed.doubled,
                "stretch": self.stretch,
            },
            "kept": self.kept,
            "broken": list(self.broken),
            "at": self.at,
            "server": self.server,
        }


def summary(reports: Sequence[Report]) -> str:
    """How many of them kept all promises."""
    bad = [one for one in reports if not one.kept]
    return f"{len(reports)} drills: " + (f"{len(bad)} did not keep what is promised" if bad else "all promises kept")


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
