"""Numbers, moments and sentences as the page shows them. Pure."""

from __future__ import annotations

import time

from ..english import duration
from ..picture.health import Level
from ..picture.snapshot import Snapshot


def rate(per_second: float | None) -> str:
    """Messages a second with two or three digits that matter; a dash while it is not known."""
    if per_second is None:
        return "–"
    if per_second == 0:
        return "0/s"
    if per_second < 0.095:
        return f"{per_second * 60:.1f}/min"
    if per_second < 10:
        return f"{per_second:.1f}/s"
    return f"{per_second:,.0f}/s"


def count(total: int) -> str:
    """A whole number with thousands apart."""
    return f"{total:,}"


def clock(at: float) -> str:
    """A moment of today as this machine's wall clock shows it."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def health_of(snapshot: Snapshot, now: float) -> str:
    """How well the hive is, in a sentence; with since when, where Redis does not answer."""
    sentence = f"{snapshot.health.sentence}."
    if snapshot.silent_since is None:
        return sentence
    since = f"since {clock(snapshot.silent_since)} ({duration(now - snapshot.silent_since)})"
    if snapshot.health.level is Level.UNKNOWN:
        return f"Redis has not answered {since}. What you see is what was last known."
    return sentence
