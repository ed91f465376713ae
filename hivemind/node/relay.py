"""The relay: the files by which one process of a program hands over to the next.

=============  =======================================  ================================================================
file           who writes it, and when                  what it says
=============  =======================================  ================================================================
``X.next``     the successor, when it is ready          its code is loaded, it is connected, and it receives
``X.go``       hived, before it stops the old process   take over as soon as that one has said goodbye
``X.last``     the old process, if somebody follows     of each sender and topic, the number of the last message it had
``X.code``     each process, when it has loaded it      which files of the hive its code is, and what they held (the
                                                        successor, until it has taken over: ``X.next.code``)
=============  =======================================  ================================================================

``X`` is the program's pidfile without its ending.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..whole import put

VARIABLE = "HIVEMIND_RELAY"  #: environment variable in which the keeper says where the files are
NEXT_PID = ".next.pid"  #: how the pidfile of a successor ends


@dataclass(frozen=True, slots=True)
class Relay:
    """The files of one program; ``base`` is where they are, without their endings."""

    base: str

    @classmethod
    def at(cls, pidfile: Path) -> Relay:
        """Of the program whose pidfile, or whose successor's, this is."""
        return cls(str(pidfile).removesuffix(".pid").removesuffix(".next"))

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Relay | None:
        """Of the program that we are; None if no keeper has said so."""
        base = environ.get(VARIABLE)
        return cls(base) if base else None

    @property
    def pidfile(self) -> Path:
        """The program's pidfile."""
        return Path(f"{self.base}.pid")

    @property
    def next_pidfile(self) -> Path:
        """The successor's, until it has taken over."""
        return Path(f"{self.base}{NEXT_PID}")

    @property
    def go(self) -> Path:
        """Exists when the successor may take over."""
        return Path(f"{self.base}.go")

    @property
    def code(self) -> Path:
        """What the process that runs has loaded."""
        return Path(f"{self.base}.code")

    @property
    def next_code(self) -> Path:
        """What the successor has loaded, until it has taken over."""
        return Path(f"{self.base}.next.code")

    @property
    def _next(self) -> Path:
        return Path(f"{self.base}.next")

    @property
    def _last(self) -> Path:
        return Path(f"{self.base}.last")

    def clear(self) -> None:
        """Nobody follows, or did."""
        for path in (self._next, self.go, self._last, self.next_code):
            path.unlink(missing_ok=True)

    def say_ready(self) -> None:
        """We could take over now. Raises OSError."""
        put(self._next, str(os.getpid()).encode())

    def is_ready(self, pid: int) -> bool:
        """Whether the successor with that ``pid`` could take over."""
        try:
            return self._next.read_bytes() == str(pid).encode()
        except OSError:
            return False

    @property
    def is_followed(self) -> bool:
        """Whether somebody is to take over from the process that runs."""
        return self._next.exists() and self.go.exists()

    def leave(self, places: Sequence[Mapping[str, Any]]) -> None:
        """Say how far we came. Never raises: what cannot be said is found out by who follows, or handled twice."""
        with suppress(OSError, TypeError):
            put(self._last, orjson.dumps(places))

    def left(self) -> list[dict[str, Any]]:
        """How far the old process came; nothing if it did not say."""
        try:
            found = orjson.loads(self._last.read_bytes())
        except (OSError, ValueError):
            return []
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
