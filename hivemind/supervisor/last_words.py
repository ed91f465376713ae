"""The last that a program said of an error, by what it printed and by its log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..log_files import last_entries
from .files import time_of

FATAL = "Fatal Python error: "  #: what Python writes, before its stacks, when a signal ends it
TRACEBACK = "Traceback (most recent call last):"  #: how Python begins to print what was raised
ADOPTED = "hived: adopted process "  #: how the keeper begins to say that it stands in for a process
TAIL = 65_536  # bytes at the end of a log in which last words are looked for


def last_words(printed: Path, own: Path | None, since: float = 0.0) -> str:
    """The last error in the program's log, if it is not older than ``since``, in unix seconds, or what the last
    traceback that it printed says was raised; if it printed something after its log ends, that line: it had no log yet.
    That a keeper stands in for it is no word of its own. Raises nothing.
    """
    if own is None or time_of(own) < time_of(printed):
        texts = [line for entry in last_entries(printed, TAIL) for line in entry.text.split("\n")]
        fatal = next((line.strip() for line in reversed(texts) if line.startswith(FATAL)), "")
        last = fatal or next((line.strip() for line in reversed(texts) if line.strip()), "")
        if own is None or not last.startswith(ADOPTED):
            return last
    late = [one for one in last_entries(own, TAIL) if one.time >= since]
    errors = [one for one in late if one.level in ("ERROR", "CRITICAL")]
    if errors:
        return _in_a_line(errors[-1].text)
    return _raised([line for one in late if one.name == "stderr" for line in one.text.split("\n")])


def _raised(printed: Sequence[str]) -> str:
    """What the last traceback among the lines that were ``printed`` says that was raised; "" if there is none."""
    begins = max((at for at, line in enumerate(printed) if line.startswith(TRACEBACK)), default=len(printed))
    return next((line.strip() for line in printed[begins + 1 :] if line and not line[0].isspace()), "")


def _in_a_line(text: str) -> str:
    """An error and, if it has a traceback, what was raised."""
    first, *rest = text.split("\n")
    raised = next((line for line in reversed(rest) if line and not line.startswith(" ")), "")
    return f"{first}: {raised}" if raised and raised not in first else first
