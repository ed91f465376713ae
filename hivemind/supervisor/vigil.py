"""hived's look at supervisord, under which everything runs: does that go on?

supervisord sends an event every five seconds, whatever else happens. If none comes, and it stands still (see
stillness.py), it is asked something; if it does not answer that either, it is killed, and hived does as after any end
of supervisord: it starts another, which adopts all programs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time

from ..errors import SupervisorError
from ..identity import ProcessIdentity
from ..process_table import doing
from . import stood
from .engine import QUICK, Engine
from .keeper import kill
from .stillness import STILL, Stillness
from .stood import SUPERVISORD, Stood

log = logging.getLogger("hived")

EVENTS = 6.0  # seconds from one event to the next, at most: it looks once a second whether five have gone by
LATE = EVENTS + 1.0  # seconds after which one is late
LOOK = 1.0  # seconds between two looks then


class Vigil:
    """Watches over the supervisord that has started us."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._supervisord = engine, ProcessIdentity.of(os.getppid())
        self._judge = Stillness(STILL + EVENTS - QUICK)
        self._news = asyncio.Event()

    def heard(self) -> None:
        """An event came. On the loop."""
        self._news.set()

    async def run(self) -> None:
        """Watch for ever."""
        while self._supervisord is not None:
            patience = LOOK if self._judge.silent else LATE
            if await self._hears(patience):
                self._judge.heard()
            elif self._judge.look(patience, doing(self._supervisord.pid)):
                if not await asyncio.to_thread(self._answers) and not self._engine.paths.stopping.exists():
                    self._end(self._supervisord)
                self._judge.heard()
        await asyncio.Event().wait()  # it is gone already: then our standard input ends

    async def _hears(self, seconds: float) -> bool:
        """Whether an event comes within so many of them."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _answers(self) -> bool:
        try:
            return self._engine.client(QUICK).pid() > 0
        except SupervisorError:
            return False

    def _end(self, supervisord: ProcessIdentity) -> None:
        seen = doing(supervisord.pid)
        found = Stood(SUPERVISORD, supervisord.pid, seen.state if seen else "", self._judge.silent, time.time(), True)
        stood.write(self._engine.paths.stood, found)
        log.error("%s", found.text)
        kill(supervisord, signal.SIGKILL)
