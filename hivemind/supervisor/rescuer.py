"""Sends back who has died and cannot come back, because a file was saved meanwhile that does not load."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection

from ..errors import HivemindError
from .actions import faults
from .engine import Engine
from .files import time_of
from .plan import load
from .returning import hold_back, told, way_back
from .topology import Program

log = logging.getLogger("hived")

LOOK = 0.5  # seconds between two looks for who has ended


class Rescuer:
    """Is told who ``ended``. ``fresh`` gives the engine with the settings as they are now."""

    def __init__(self, fresh: Callable[[], Engine]) -> None:
        self._fresh = fresh
        self._ended: deque[str] = deque(maxlen=1000)
        self._tried: dict[str, tuple[int, ...]] = {}  # by program the times of its files when they were looked at

    def ended(self, name: str) -> None:
        """The program of that name has ended early; on any thread."""
        self._ended.append(name)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK)
            names = {self._ended.popleft() for _ in range(len(self._ended))}
            if names:
                try:
                    await asyncio.to_thread(self._look, names)
                except (HivemindError, OSError) as error:
                    log.warning("whether they can come back is not known: %s", error)

    def _look(self, names: Collection[str]) -> None:
        engine = self._fresh()
        found = [each for each in load(engine.paths).programs if each.name in names and self._is_open(each)]
        if not found or engine.paths.stopping.exists():
            return
        problems = faults(engine, found)
        lost = [each for each in found if not problems.keys().isdisjoint(each.members)]
        if not lost:
            return
        with engine.lock():
            release = way_back(engine)
            if release is not None:
                hold_back(engine, lost, problems)
        if release is None:
            return
        for each in lost:
            reason = "; ".join(problems[name].text for name in each.members if name in problems)
            log.error(
                "%s ended, and its file does not load: %s. It comes back with %s", each.name, reason, told(release)
            )

    def _is_open(self, program: Program) -> bool:
        """Whether it may have files that do not load, and goes by them; each change of them is looked at once."""
        stamps = tuple(time_of(file) for file in program.members.values() if file)
        is_new = self._tried.get(program.name) != stamps
        self._tried[program.name] = stamps
        return bool(stamps) and is_new and not program.fault and not program.sharing
