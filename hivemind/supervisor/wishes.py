"""What somebody asked of programs lately: so that who tells that they left and came can say why. One small file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from ..whole import put

RECENT = 600.0  #: seconds for which it is remembered
LONGEST = 200  #: characters
PAST: Mapping[str, str] = {
    "start": "started",
    "stop": "stopped",
    "restart": "restarted",
    "roll": "rolled",
    "scale": "scaled",
}
Wish = tuple[str, float]  #: what was asked, and by whom, in words; when, in unix seconds


def asked_for(verb: str, by: str) -> str:
    """In words: ``by`` is who asks, as a request says it."""
    if not by:
        return PAST.get(verb, verb)
    return (
        f"{PAST.get(verb, verb)} by {by}"
        if by.endswith("on the page")
        else f"{PAST.get(verb, verb)} by `hm {verb}` of {by}"
    )


def note(path: Path, names: Iterable[str], text: str) -> None:
    """Remember what was asked of these programs, or of all copies of these nodes. Never raises."""
    now = time.time()
    known = {**wishes(path), **dict.fromkeys(names, (text[:LONGEST], now))}
    with suppress(OSError):
        put(path, orjson.dumps({name: wish for name, wish in known.items() if now - wish[1] < RECENT}))


def now(path: Path, names: Iterable[str], text: str = "") -> None:
    """The turn of these programs has come: of what was asked of them before, or of ``text``. Never raises."""
    known = wishes(path)
    for name in names:
        if said := text or known.get(name, ("", 0.0))[0]:
            note(path, [name], said)


def wishes(path: Path) -> dict[str, Wish]:
    """What was asked lately, by the names of programs and nodes."""
    try:
        found = orjson.loads(path.read_bytes())
        now = time.time()
        return {
            str(name): (str(text), float(at)) for name, (text, at) in found.items() if now - RECENT < at < now + RECENT
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
