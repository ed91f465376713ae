"""What somebody asked of programs lately: so that who tells that they left and came can say why. One small file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from ..whole import put

RECENT = 600.0  #: seconds for which it is remembered
STOPPED = 30 * 86_400.0  #: seconds for which it is remembered who stopped what, unless something else is asked of it
ON_PAGE = "on the page"  #: how who asks there ends
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
        f"{PAST.get(verb, verb)} by {by}" if by.endswith(ON_PAGE) else f"{PAST.get(verb, verb)} by `hm {verb}` of {by}"
    )


def note(path: Path, names: Iterable[str], text: str) -> None:
    """Remember what was asked of these programs, or of all copies of these nodes. Never raises."""
    now = time.time()
    known = {**wishes(path), **dict.fromkeys(names, (text[:LONGEST], now))}
    with suppress(OSError):
        put(path, orjson.dumps({name: wish for name, wish in known.items() if now - wish[1] < _kept(wish[0])}))


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
            str(name): (str(text), float(at))
            for name, (text, at) in found.items()
            if now - _kept(str(text)) < at < now + RECENT
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def who_stopped(known: Mapping[str, Wish], program: str) -> str:
    """By what, or whom, a program was stopped that is, by what is ``known`` of wishes: to go on from "stopped"."""
    said = [known[name] for name in (program, program.rpartition(".")[0]) if name in known]
    stops = [wish for wish in said if wish[0].startswith(f"{PAST['stop']} by ")]
    text, _ = max(stops, key=lambda wish: wish[1], default=("", 0.0))
    is_page = text.endswith(ON_PAGE)
    return text.removeprefix(f"{PAST['stop']} ") if is_page else "by `hm stop`"


def _kept(text: str) -> float:
    return STOPPED if text.startswith(PAST["stop"]) else RECENT
