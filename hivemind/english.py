"""Numbers, names, sizes and time spans as they stand in a sentence: for the command line and the page alike."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 3  #: names in one clause of a sentence; more are counted


def amount(count: int, thing: str) -> str:
    """``1 node``, ``2,000 nodes``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def listed(names: Sequence[str]) -> str:
    """``a, b, c``, of many ``a, b, c and 5 more``."""
    return f"{', '.join(names[:MOST])} and {len(names) - MOST} more" if len(names) > MOST else ", ".join(names)


def are(names: Sequence[str]) -> str:
    """The verb for ``names``: ``is`` for one, else ``are``."""
    return "is" if len(names) == 1 else "are"


def rate(per_second: float) -> str:
    """Messages a second with two or three digits that matter."""
    if per_second == 0:
        return "0/s"
    if per_second < 0.095:
        return f"{per_second * 60:.1f}/min"
    return f"{per_second:.1f}/s" if per_second < 9.95 else f"{per_second:,.0f}/s"


def duration(seconds: float) -> str:
    """A time span in its two largest units: ``12 s``, ``3 min 4 s``, ``2 h 5 min``, ``3 d 4 h``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def age(seconds: float | None) -> str:
    """The same of what may be nothing: then ""."""
    return "" if seconds is None else duration(seconds)


def size_of(size: float) -> str:
    """So many bytes, in the unit that fits."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
