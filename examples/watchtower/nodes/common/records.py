"""The payloads that the nodes send each other."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reading:
    """``host.*``: one measured value, and what else was seen with it."""

    value: float
    unit: str
    detail: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compared:
    """``usual.*``: a reading beside what is usual. ``known`` is false while that is still being learnt."""

    value: float
    unit: str
    usual: float
    deviation: float
    known: bool


@dataclass(frozen=True, slots=True)
class Alert:
    """``alert.*``, and one line of the file of alerts. ``time`` is ISO 8601."""

    time: str
    topic: str
    value: float
    usual: float
    text: str
