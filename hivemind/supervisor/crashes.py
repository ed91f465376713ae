"""How programs of this host ended last against their will, with what they said of it: for whoever asks, on any host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

from ..log_files import last_entries
from ..settings import Settings
from .files import tail
from .last_words import FATAL, TRACEBACK
from .lives import HUNG, Lives, read_lives
from .paths import HivePaths

MOST = 20  #: programs of which one answer tells
LONGEST = 8 * 1024  #: characters of a traceback; of a longer one the end, where it says what was raised
TAIL = 128 * 1024  #: bytes at the end of a log in which it is looked for
LATE = 2.0  #: seconds after its end in which the last of a process gets into its log
MEANT = frozenset({"SIGTERM", "SIGINT"})  #: signals by which somebody ends a process politely


@dataclass(frozen=True, slots=True)
class Crash:
    """The last end of a program that nobody asked for: ``at`` in unix seconds, ``how`` in words, and the ``trace`` that
    it left, or its last words; "" if it left none. What it logged ``since`` then, in unix seconds, may be why; it died
    of the ``signal``.
    """

    program: str
    at: float
    how: str
    trace: str = ""
    since: float = 0.0
    signal: str = ""
    is_unknown: bool = False

    def to_json(self) -> str:
        """As a hived answers."""
        return orjson.dumps(asdict(self)).decode()


def crash_in(text: str) -> Crash | None:
    """What a hived answered, of any version; None if it is nothing of the kind."""
    try:
        raw: dict[str, Any] = orjson.loads(text)
        at = float(raw["at"])
        if not isfinite(at):
            return None
        return Crash(str(raw["program"]), at, str(raw["how"]), str(raw["trace"])[-LONGEST:])
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def crash_of(settings: Settings, program: str) -> Crash | None:
    """How ``program`` ended last, if it did so against its will since it was started on purpose; without its trace."""
    lives = read_lives(HivePaths.of(settings), program)
    if not lives.lives:
        return None
    last = lives.lives[-1]
    if last.status == 0 or last.signal in MEANT:
        return None
    return Crash(program, last.ended, _how(lives), last.words, last.blamed_since, last.signal, last.is_unknown)


def traced(settings: Settings, crash: Crash) -> Crash:
    """The same with its trace; reads the end of two files."""
    text = _trace(settings, crash)
    return replace(crash, trace=_end(text)) if text else crash


def crashes_here(settings: Settings, programs: Iterable[str]) -> list[Crash]:
    """Those of ``programs`` that ended against their will, the last first."""
    found = [crash for name in programs if (crash := crash_of(settings, name)) is not None]
    found.sort(key=lambda crash: crash.at, reverse=True)
    return [traced(settings, crash) for crash in found[:MOST]]


def _how(lives: Lives) -> str:
    times = f", {lives.failures} times in a row" if lives.keeps_ending else ""
    return f"{lives.lives[-1].text}{times}"


def _trace(settings: Settings, crash: Crash) -> str:
    """What it left in its log as it ended, else what it printed before it had one; nothing of a SIGKILL."""
    if crash.signal == "SIGKILL" and crash.trace != HUNG:
        return ""
    node, _, number = crash.program.rpartition(".")
    own = settings.log_file(node or crash.program, int(number) if number.isdigit() else 0)
    printed = HivePaths.of(settings).program_log(crash.program)
    if crash.signal and crash.trace != HUNG:
        for file in (own, printed):
            _, found, dump = _tail(file).rpartition(FATAL)
            if found:
                return f"{FATAL}{dump}"
    lines = last_entries(own, TAIL) if own is not None else []
    mine = [line for line in lines if crash.since <= line.time <= crash.at + LATE]
    errors = [line.text for line in mine if line.level in ("ERROR", "CRITICAL")]
    if errors:
        return next((text for text in reversed(errors) if TRACEBACK in text), errors[-1])
    said = "\n".join(line.text for line in mine if line.name == "stderr") or (
        "" if crash.is_unknown else _tail(printed)
    )
    _, found, dump = said.rpartition(TRACEBACK)
    return f"{TRACEBACK}{dump}" if found else ""


def _tail(file: Path | None) -> str:
    return "" if file is None else tail(file, TAIL).decode(errors="replace")


def _end(text: str) -> str:
    text = text.strip()
    return text if len(text) <= LONGEST else f"…{text[-LONGEST:]}"
