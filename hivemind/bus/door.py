"""The door of a server: whether a hive may be found there, or is being moved, or has moved.

Whoever opens a connection asks, in the same round trip in which it says its name. So nobody can write to a server that
the hive has left or is leaving, whatever host he is on and whatever he has missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson

from ..errors import RedisDenied, RedisUnavailable
from ..whereabouts import lead, moved, take_effect


class Way(StrEnum):
    """What a mark says of a hive at a server."""

    LEAVING = "leaving"  # it is being copied: everybody waits, and goes on here if that comes to nothing
    GONE = "gone"  # it is elsewhere
    COMING = "coming"  # what is here is not whole yet, or whoever copied it has yet to say that it is


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands at a server while a hive moves, and for ever where it has left: ``number`` names the move, ``to`` is
    a URL without password.
    """

    number: str
    way: Way
    to: str

    @property
    def raw(self) -> bytes:
        """As it is stored."""
        return orjson.dumps({"number": self.number, "way": self.way, "to": self.to})


def mark_in(raw: object) -> Mark | None:
    """The mark that was stored; None for what is none."""
    try:
        said = orjson.loads(raw)  # type: ignore[arg-type]  # what is no text is none
        return Mark(str(said["number"]), Way(said["way"]), str(said["to"]))
    except (ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class Door:
    """How a process goes in: in its ``folder`` it is written where the hive has moved to. ``is_mover``: it moves it."""

    folder: Path | None = None
    is_mover: bool = False

    def lead(self, url: str) -> str:
        """Where to go instead of ``url``."""
        return url if self.is_mover else lead(self.folder, url)

    def check(self, raw: object, hive: str) -> None:
        """Raise RedisUnavailable while the hive is being moved, and RedisDenied where it has moved and nobody here
        knows the way; ``raw`` is the mark.
        """
        mark = None if self.is_mover else mark_in(raw)
        if mark is None:
            return
        if mark.way is Way.LEAVING:
            raise RedisUnavailable(f"the hive {hive} is being moved to {mark.to}: that takes a moment")
        if mark.way is Way.COMING:
            known = moved(self.folder)
            if known is None or known.number != mark.number:
                raise RedisUnavailable(f"the hive {hive} is being moved here; if it is not: move it again")
        elif take_effect(self.folder, mark.number):
            raise RedisUnavailable(f"the hive {hive} has moved to {mark.to}: going there")
        else:
            raise RedisDenied(
                f"the hive {hive} has moved to {mark.to}: run `hm redis move {mark.to}` on this host, too"
            )
