"""Figures over time, as paths of a drawing. Pure; a length is a unit of the drawing's own view box."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..picture.past import LEVELS, Step

GAP = 25.0  #: seconds without a step after which a line is broken: the largest hive is read every 15 s


@dataclass(frozen=True, slots=True)
class Frame:
    """So many ``seconds`` up to ``end`` (unix seconds) across ``width``, and 0 to ``most`` across ``height``."""

    end: float
    seconds: float
    width: int
    height: int
    most: float = 1.0

    def x(self, at: float) -> str:
        """How far to the right a moment is."""
        return _short(min(1.0, max(0.0, 1 - (self.end - at) / self.seconds)) * self.width)

    def y(self, value: float) -> str:
        """How far down a value is: 0 at the bottom, with room for the line itself at both ends."""
        share = min(1.0, value / self.most) if self.most > 0 else 0.0
        return _short(self.height - 1 - share * (self.height - 2))


def line(frame: Frame, steps: Sequence[Step], figure: Callable[[Step], float]) -> str:
    """A line through ``figure`` of each step; broken where nobody looked."""
    return "".join(
        "M" + "L".join(f"{frame.x(one.at)} {frame.y(figure(one))}" for one in run) + ("h0" if len(run) == 1 else "")
        for run in _runs(steps)
    )


def area(frame: Frame, steps: Sequence[Step], figure: Callable[[Step], float]) -> str:
    """What is below that line."""
    found = []
    for run in _runs(steps):
        points = "L".join(f"{frame.x(one.at)} {frame.y(figure(one))}" for one in run)
        found.append(f"M{frame.x(run[0].at)} {frame.height}L{points}V{frame.height}Z")
    return "".join(found)


def bars(frame: Frame, steps: Sequence[Step]) -> str:
    """A line at the bottom for as long as each run of steps lasted."""
    return "".join(f"M{frame.x(run[0].at)} {frame.height - 1}H{frame.x(run[-1].at + GAP)}" for run in _runs(steps))


def ticks(frame: Frame, moments: Iterable[float], length: int) -> str:
    """A short line at the bottom for each moment."""
    return "".join(f"M{x} {frame.height}v-{length}" for x in dict.fromkeys(frame.x(at) for at in moments))


def thinned(steps: Sequence[Step], seconds: float) -> list[Step]:
    """One step for so many seconds: the mean of its rates, and the worst level."""
    groups: dict[float, list[Step]] = {}
    for one in steps:
        groups.setdefault(one.at // seconds * seconds, []).append(one)
    return [
        replace(
            some[-1],
            at=at,
            sent=sum(one.sent for one in some) / len(some),
            received=sum(one.received for one in some) / len(some),
            level=max((one.level for one in some), key=LEVELS.index),
        )
        for at, some in groups.items()
    ]


def _runs(steps: Sequence[Step]) -> list[list[Step]]:
    found: list[list[Step]] = []
    for one in steps:
        if found and one.at - found[-1][-1].at <= GAP:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _short(length: float) -> str:
    return f"{length:.1f}".removesuffix(".0")
