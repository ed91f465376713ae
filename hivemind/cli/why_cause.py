"""What an error in a log leads to: the line of the hive that is to blame, and what was raised there. Never raises."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..log_files import last_entries
from ..supervisor.files import tail, within
from ..supervisor.last_words import FATAL

TAIL = 262_144  #: bytes at the end of a log in which an error is looked for
_FRAME = re.compile(r'^[ |]*File "([^"\n]+)", line (\d+)', re.MULTILINE)
_RAISED = "Traceback (most recent call last):"
_STACK = re.compile(r"^(Current thread|Thread) 0x.*\(most recent call first\):\n((?: .*\n?)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cause:
    """What went wrong; ``place`` is file:line in the hive, "" where none of it is the hive's; ``at`` in unix seconds,
    0.0 where that is not known.
    """

    what: str
    place: str = ""
    at: float = 0.0

    @property
    def text(self) -> str:
        """Both, as they stand in a sentence."""
        return f"{self.what} at {self.place}" if self.place and self.place not in self.what else self.what


def raised_in(text: str, hive: Path, at: float = 0.0) -> Cause:
    """What an entry of a log says of an error: what was raised, else its first line."""
    first, *rest = text.split("\n")
    raised = next((line.strip() for line in reversed(rest) if line[:1] not in ("", " ", "\t")), "")
    blocks = text.split(_RAISED)
    found = _theirs(blocks[-1], hive) or _theirs(text, hive)
    return Cause(raised if len(blocks) > 1 and raised else first.strip(), found[-1] if found else "", at)


def stood_in(text: str, hive: Path) -> str:
    """Where the last stacks that Python wrote into ``text`` stand in the hive, that of the thread which the signal has
    met before others; "" where nowhere.
    """
    stacks = sorted(_STACK.findall(text), key=lambda one: one[0] == "Current thread")
    return next((found[0] for _, frames in reversed(stacks) if (found := _theirs(frames, hive))), "")


def last_error(log: Path | None, hive: Path, since: float = 0.0) -> Cause | None:
    """The last error in a log that is not older than ``since``, in unix seconds."""
    entries = [] if log is None else last_entries(log, TAIL)
    errors = [one for one in entries if one.level in ("ERROR", "CRITICAL") and one.time >= since]
    return raised_in(errors[-1].text, hive, errors[-1].time) if errors else None


def last_crash(files: Iterable[Path | None], hive: Path) -> Cause | None:
    """What Python itself last wrote in one of ``files`` when a signal ended it, and where it stood."""
    for file in files:
        _, found, dump = _end(file).rpartition(FATAL)
        if found:
            return Cause(dump.partition("\n")[0].strip(), stood_in(dump, hive))
    return None


def last_stacks(log: Path | None, hive: Path) -> str:
    """Where the process stood that last wrote its stacks to ``log``."""
    return stood_in(_end(log), hive)


def _end(file: Path | None) -> str:
    return "" if file is None else tail(file, TAIL).decode(errors="replace")


def _theirs(text: str, hive: Path) -> list[str]:
    """The frames that are the hive's own, as file:line."""
    frames = [(Path(file), line) for file, line in _FRAME.findall(text)]
    strangers = {"site-packages", ".venv"}
    ours = [(file, line) for file, line in frames if file.is_relative_to(hive) and not strangers & {*file.parts}]
    return [f"{within(hive, file)}:{line}" for file, line in ours]
