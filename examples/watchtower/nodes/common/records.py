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


@dataclass(frozen=True, slots=True)
class Sighting:
    """``sighting.*``: who passed by, and how many seconds of cores it used. No name: nobody could see who it was."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Entry:
    """``entry.*``: a sighting as ``clerk`` wrote it down, an instance."""

    name: str
    seconds: float
    clerk: str
