"""Numbers, moments and sentences as the page shows them. Pure."""

from __future__ import annotations

import time

from .. import english
from ..english import duration
from ..picture.health import Level
from ..picture.snapshot import Snapshot


def rate(per_second: float | None) -> str:
    """Messages a second with two or three digits that matter; a dash while it is not known."""
    return "–" if per_second is None else english.rate(per_second)


def count(total: int) -> str:
    """A whole number with thousands apart."""
    return f"{total:,}"


def lapse(seconds: float | None) -> str:
    """How long something took, with two or three digits that matter; a dash while it is not known."""
    if seconds is None:
        return "–"
    if seconds < 0.0095:
        return f"{seconds * 1000:.2g} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def memory(size: int) -> str:
    """Bytes of memory; a dash where that is not known."""
    if size <= 0:
        return "–"
    return f"{size / 2**20:,.0f} MiB" if size < 2**30 else f"{size / 2**30:,.1f} GiB"


def share(of_one: float) -> str:
    """How much of one processor is used."""
    return f"{of_one * 100:.1f} %" if of_one < 0.0995 else f"{of_one * 100:,.0f} %"


def clock(at: float) -> str:
    """A moment of today as this machine's wall clock shows it; a dash for what is none."""
    return _shown("%H:%M:%S", at)


def moment(at: float) -> str:
    """A moment of whatever day as this machine's wall clock shows it; a dash for what is none."""
    return _shown("%Y-%m-%d %H:%M:%S", at)


def _shown(form: str, at: float) -> str:
    try:
        return time.strftime(form, time.localtime(at)) if at else "–"
    except (OverflowError, ValueError, OSError):  # anybody may write anything there
        return "–"


def health_of(snapshot: Snapshot, now: float) -> str:
    """How well the hive is, in a sentence; with since when, where Redis does not answer."""
    sentence = f"{snapshot.health.sentence}."
    if snapshot.silent_since is None:
        return sentence
    since = f"since {clock(snapshot.silent_since)} ({duration(now - snapshot.silent_since)})"
    if snapshot.health.level is Level.UNKNOWN:
        why = f": {snapshot.why}" if snapshot.why else ""
        return f"Redis has not answered {since}{why}. What you see is what was last known."
    return sentence
