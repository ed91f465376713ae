"""What was: the last hour of a hive in steps of five seconds, each with a few figures and with what happened in it.

What others wrote is hostile input: what cannot be a step is none, and a figure that is none is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import orjson

from ..topics import is_instance

STEP = 5.0  #: seconds
HOUR = 3600.0  #: seconds that are remembered
RECENT = 600.0  #: seconds that are shown small beside a figure
SAME = 15.0  #: seconds within which two roots that tell of the same thing mean the same
MOST = 50  #: events in one step; whoever reads takes no more either
LONGEST = 300  #: characters of why something happened, and of what was not well
MOST_SAID = 10  #: troubles of one step, and notes; whoever reads takes no more either
GREATEST = 1e15  #: no figure is greater
FIGURES = ("sent", "received", "lost", "lag", "letters", "instances")
SAID = ("troubles", "notes")
LEVELS = ("well", "note", "trouble", "unknown")


class What(StrEnum):
    """What can happen."""

    CAME = "came"  # an instance registered
    AGAIN = "again"  # a new life of an instance began
    LEFT = "left"  # it said goodbye
    LOST = "lost"  # it ended, or was cut off, without a goodbye
    SILENT = "silent"  # Redis did not answer
    ANEW = "anew"  # another process of Redis answers


OF_REDIS = (What.SILENT, What.ANEW)  #: what happens to Redis, and to no instance


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened ``at`` (unix seconds) to ``who``, an instance, in the life of that incarnation; ``why``
    in words, "" if that is not known.
    """

    at: float
    what: What
    who: str
    life: int = 0
    why: str = ""

    def is_same(self, other: Event) -> bool:
        """Whether two roots tell of one thing."""
        one, two = (self.what, self.who, self.life), (other.what, other.who, other.life)
        return one == two and abs(self.at - other.at) < SAME


@dataclass(frozen=True, slots=True)
class Step:
    """The hive in the five seconds from ``at`` (unix seconds): messages ``sent`` and ``received`` a second, how many
    were ``lost`` in them, and at their end the ``lag`` of all groups, the dead ``letters``, the ``instances`` that
    lived, and how well it was: what was not (``troubles``), and what was worth a look (``notes``).
    """

    at: float
    sent: float = 0.0
    received: float = 0.0
    lost: float = 0.0
    lag: float = 0.0
    letters: float = 0.0
    instances: float = 0.0
    level: str = "unknown"
    events: tuple[Event, ...] = ()
    troubles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One object; stable names."""
        return asdict(self)

    @property
    def raw(self) -> bytes:
        """As it is stored."""
        events = [[one.at, one.what, one.who, one.life, one.why[:LONGEST]] for one in self.events[:MOST]]
        figures = {name: round(getattr(self, name), 3) for name in FIGURES}
        said = {
            name: [one[:LONGEST] for one in getattr(self, name)[:MOST_SAID]] for name in SAID if getattr(self, name)
        }
        return orjson.dumps({**figures, "level": self.level, "events": events, **said})


def step_from(raw: bytes, at: float) -> Step | None:
    """A step that was stored; None for what is none."""
    try:
        said = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, dict):
        return None
    events = said.get("events")
    found = [_event(one) for one in events[:MOST]] if isinstance(events, list) else []
    level, known = said.get("level"), dict[str, Any]({name: _figure(said.get(name)) for name in FIGURES})
    return Step(
        at,
        **known,
        level=level if level in LEVELS else "unknown",
        events=tuple(one for one in found if one is not None and abs(one.at - at) < HOUR),
        troubles=_texts(said.get("troubles")),
        notes=_texts(said.get("notes")),
    )


@dataclass(frozen=True)
class Past:
    """The steps that are remembered, oldest first; where nobody looked there is none."""

    steps: tuple[Step, ...] = ()

    def joined(self, steps: Iterable[Step], now: float) -> Past:
        """With ``steps`` in the place of those of the same time, as of ``now`` in unix seconds."""
        known = {one.at: one for one in (*self.steps, *steps) if now - HOUR < one.at <= now}
        return Past(tuple(known[at] for at in sorted(known)))

    def until(self, at: float, seconds: float = RECENT) -> Sequence[Step]:
        """The steps of so many seconds before ``at``, and the one that it is in."""
        return [one for one in self.steps if at - seconds < one.at <= at]

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """All that happened, oldest first; what two roots told of is there once."""
        found: list[Event] = []
        last: dict[tuple[What, str, int], Event] = {}
        for one in sorted((one for step in self.steps for one in step.events), key=lambda each: each.at):
            thing = (one.what, one.who, one.life)
            if thing not in last or not last[thing].is_same(one):
                found.append(one)
                last[thing] = one
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """What ``/api/past`` answers: times in unix seconds, rates in messages a second; stable names."""
        steps = [{name: value for name, value in one.to_json().items() if name != "events"} for one in self.steps]
        return {"step": STEP, "steps": steps, "events": [asdict(one) for one in self.events]}


def _event(raw: object) -> Event | None:
    match raw:
        case [int() | float() as at, str() as what, str() as who, int() as life, str() as why]:
            is_sound = math.isfinite(at) and what in list(What) and (is_instance(who) or what in OF_REDIS)
            return Event(float(at), What(what), who[:LONGEST], life, why[:LONGEST]) if is_sound else None
    return None


def _texts(raw: object) -> tuple[str, ...]:
    return tuple(one[:LONGEST] for one in raw[:MOST_SAID] if isinstance(one, str)) if isinstance(raw, list) else ()


def _figure(raw: object) -> float:
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    return min(float(raw), GREATEST) if is_number and raw >= 0 else 0.0  # type: ignore[arg-type, operator]
