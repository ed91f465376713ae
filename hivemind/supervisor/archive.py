"""Makes a release of what was applied once all of it has been well for a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from ..errors import SupervisorError
from .arrival import arrivals
from .engine import Engine
from .plan import load
from .releases import promote

log = logging.getLogger("hived")

LOOK = 2.5  # seconds
PROVEN = 10.0  # seconds for which everything has to be there, in one and the same life

Lives = Mapping[str, tuple[int, float]]  # program -> pid and start of its process


class Proof:
    """Whether all has been well for long enough. Pure: it is told what is seen, and when."""

    def __init__(self) -> None:
        self._lives: Lives | None = None
        self._since = 0.0

    def look(self, now: float, lives: Lives | None) -> bool:
        """``lives`` is None if something is not well, or there is nothing to prove."""
        if lives is None or lives != self._lives:
            self._lives, self._since = lives, now
        return lives is not None and now - self._since >= PROVEN


class Archive:
    """Looks as long as there is something unproven."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self._proof = engine, Proof()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await asyncio.sleep(LOOK)
            with contextlib.suppress(SupervisorError, OSError):  # it does not answer, the disk is full: later
                await asyncio.to_thread(self._look)

    def _look(self) -> None:
        paths = self.engine.paths
        is_open = paths.draft.exists() and not paths.stopping.exists()
        if self._proof.look(time.monotonic(), self._lives() if is_open else None):
            with self.engine.lock():
                made = promote(paths)
            if made is not None:
                log.info("release %d: all has been well with these files for %g s", made.number, PROVEN)

    def _lives(self) -> Lives | None:
        """All programs, if each of them is there, and the draft that they are of."""
        mark, lives = self.engine.paths.draft.stat(), all_there(self.engine)
        return None if lives is None else {**lives, "": (mark.st_ino, mark.st_mtime)}


def all_there(engine: Engine) -> Lives | None:
    """All programs, if each of them is there and nothing is quarantined. Raises SupervisorError."""
    plan = load(engine.paths)
    found = arrivals(engine, [each.name for each in plan.programs], 0.0)
    if plan.problems or len(found) < len(plan.programs):
        return None
    if not all(each.is_there or (each.has_ended and each.is_well) for each in found.values()):
        return None
    return {name: (each.info.pid, each.info.started) for name, each in found.items()}
