"""Where reading begins, and how long something is kept, as users write it: ``10m``, ``1000``, ``new``, ``all``."""

from __future__ import annotations

import re

from .errors import ConfigurationError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)([smhd])")
_MOST_DIGITS = 12


def span(text: str) -> float | None:
    """The seconds in ``90s``, ``10m``, ``2h`` or ``1d``; None if ``text`` is something else."""
    found = _SPAN.fullmatch(text)
    return float(found[1]) * _UNITS[found[2]] if found else None


def is_whole(text: str) -> bool:
    """Whether ``text`` is a number of plain digits, and no longer than any that is meant."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def check_since(value: object) -> str:
    """Where a reader begins, as text: "new", "all", a span such as "10m", or a number of messages, from 1.

    Raises ConfigurationError for anything else.
    """
    text = str(value) if value.__class__ in (str, int) else ""
    if text in ("new", "all") or span(text) is not None or (is_whole(text) and 0 < int(text) <= 1_000_000):
        return text
    raise ConfigurationError(f'since={value!r}: write "new", "all", a span such as "10m", or a number of messages')
