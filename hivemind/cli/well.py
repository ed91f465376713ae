"""A look at the whole hive, or many, until it is well."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..errors import RedisError
from ..settings import Settings
from .declared import declared
from .health import Health, judge
from .reading import dead_primaries, read_ages, read_durability, read_instances, read_mode, refusal

PAUSE = 0.2  #: seconds between two looks


@dataclass(frozen=True, slots=True)
class Look:
    """``patterns`` is how the hive keeps them, whatever its settings say; "" where that cannot be known."""

    health: Health
    patterns: str
    is_quarantined: bool  #: a node or more, or kept to the code or settings of before: so until somebody mends a file

    @property
    def is_last(self) -> bool:
        """Whether waiting leads nowhere."""
        return self.health.is_well or self.is_quarantined


def look(settings: Settings, wait: float = 0.0) -> Look:
    """Look at the hive until it is well, for ``wait`` seconds at the most. Raises RedisError if it cannot be seen."""
    until = time.monotonic() + wait
    while True:
        try:
            seen = _look(settings)
            if seen.is_last or time.monotonic() >= until:
                return seen
        except RedisError:
            if time.monotonic() >= until:
                raise
        time.sleep(min(PAUSE, max(0.0, until - time.monotonic())))


def _look(settings: Settings) -> Look:
    instances = read_instances(settings)
    is_any_lost = any(one.is_lost for one in instances)
    refused, ages = (refusal(settings), read_ages(settings, instances)) if is_any_lost else ("", {})
    mode, dead = _mode(settings), dead_primaries(settings)
    durable, should = read_durability(settings, instances), declared(settings)
    health = judge(settings.name, instances, should, refused, ages, mode, dead).and_of(durable)
    is_quarantined = bool(should.problems or should.settings) or any(one.fault for one in should.programs.values())
    return Look(health, mode, is_quarantined)


def _mode(settings: Settings) -> str:
    try:
        return read_mode(settings)
    except RedisError:
        return ""
