"""Who stood still and was killed for it: one small file, from who found it to who tells it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from ..english import duration
from ..whole import put

FILE = "stood.json"  #: in the folder of what means nothing after a reboot
HIVED, SUPERVISORD = "hived", "supervisord"
RECENT = 3600.0  #: seconds for which it is worth a word


@dataclass(frozen=True, slots=True)
class Stood:
    """``who`` it was, what it did meanwhile, for how many ``seconds``, and when it was killed (unix seconds)."""

    who: str
    pid: int
    state: str
    seconds: float
    at: float
    is_told: bool = False  # in hived's log

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.who} (process {self.pid}) did not go on for {self.seconds:.0f} s ({self.state}), and was killed"


def read(path: Path) -> Stood | None:
    """The last of whom ``path`` tells; None if it is missing or spoilt."""
    try:
        return Stood(**orjson.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write(path: Path, stood: Stood) -> None:
    """Let ``path`` tell of it. Never raises: a full disk keeps nobody from being killed."""
    with suppress(OSError):
        put(path, orjson.dumps(asdict(stood)))


def news(path: Path) -> str:
    """What is to be logged of it, once: "" if there is nothing new."""
    found = read(path)
    if found is None or found.is_told:
        return ""
    write(path, replace(found, is_told=True))
    return found.text


def lately(path: Path) -> str:
    """What is to be shown of it to people, if that was a short while ago."""
    found = read(path)
    ago = time.time() - found.at if found is not None else RECENT
    return f"{found.text} {duration(ago)} ago" if found is not None and ago < RECENT else ""
