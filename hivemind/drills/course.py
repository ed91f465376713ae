"""How a drill goes: stages, what leads from one to the next, and how long that may take. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..states import DRILL, DrillStage, advance


@dataclass(frozen=True, slots=True)
class Step:
    """What leads on from a stage: to where, within how many seconds, and what is to be said if it does not come."""

    to: DrillStage
    within: float
    otherwise: DrillStage
    why: str


STEPS: Mapping[DrillStage, Step] = {
    DrillStage.STEADY: Step(DrillStage.INJECTED, 30.0, DrillStage.REFUSED, "the hive was not well before"),
    DrillStage.INJECTED: Step(DrillStage.NOTICED, 45.0, DrillStage.FAILED, "nobody noticed"),
    DrillStage.NOTICED: Step(DrillStage.HEALED, 60.0, DrillStage.FAILED, "the cause did not go away"),
    DrillStage.HEALED: Step(DrillStage.BACK, 60.0, DrillStage.FAILED, "it did not come back"),
    DrillStage.BACK: Step(DrillStage.DRAINED, 30.0, DrillStage.FAILED, "what was kept did not come to its end"),
}


@dataclass(frozen=True, slots=True)
class Course:
    """Where a drill is, when it came to each stage, in seconds of any monotonic clock, and why it went no further."""

    stage: DrillStage
    at: Mapping[DrillStage, float] = field(default_factory=dict)
    why: str = ""

    @classmethod
    def begun(cls, now: float) -> Course:
        """A drill that begins."""
        return cls(DrillStage.STEADY, {DrillStage.STEADY: now})

    @property
    def is_over(self) -> bool:
        """Whether nothing comes after this."""
        return not DRILL[self.stage]

    def after(self, since: DrillStage, to: DrillStage) -> float | None:
        """Seconds from one stage to another; None if it did not come to both."""
        return None if to not in self.at or since not in self.at else self.at[to] - self.at[since]


def step(course: Course, now: float, *, is_so: bool) -> Course:
    """Go on, if what leads on from this stage ``is_so``; give up, if it took too long."""
    if course.is_over:
        return course
    way = STEPS[course.stage]
    if is_so:
        return _to(course, way.to, now)
    if now - course.at[course.stage] > way.within:
        return replace(_to(course, way.otherwise, now), why=f"{way.why} within {way.within:g} s")
    return course


def failed(course: Course, now: float, why: str) -> Course:
    """Give up for a reason of its own."""
    return replace(_to(course, STEPS[course.stage].otherwise, now), why=why)


def _to(course: Course, stage: DrillStage, now: float) -> Course:
    return replace(course, stage=advance(DRILL, course.stage, stage), at={**course.at, stage: now})
