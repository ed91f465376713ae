"""A supervisord that looks whether its listener, which is hived, goes on: hived looks after all others.

Every few seconds at least it sends hived an event, and hived's loop answers it. A hived that leaves one unanswered and
stands still (see stillness.py) gets SIGUSR1, upon which it prints its stacks, and is killed a second later: as one
that ended by itself it is started again. One that is still starting has longer. Redis is not asked, and time in which
supervisord itself did not turn does not count.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from supervisor.states import EventListenerStates, ProcessStates
from supervisor.supervisord import Supervisor

from ..process_table import doing
from . import stood
from .stillness import BUSY, Stillness
from .stood import FILE, HIVED, Stood

TURN = 1.0  # seconds that supervisord waits at most for something to happen: what is more, it did not turn
STACKS = 1.0  # seconds that hived gets to print its stacks
UP = frozenset({ProcessStates.STARTING, ProcessStates.RUNNING})


class Attentive(Supervisor):  # type: ignore[misc] # it has no types
    """supervisord, with a look at hived at the end of each of its turns."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._judge, self._looked = Stillness(), time.monotonic()
        self._pid, self._sign = 0, (0, 0)
        self._printing: float | None = None  # seconds since it was told to print its stacks

    def tick(self, now: float | None = None) -> None:
        """What supervisord does once a turn."""
        super().tick(now)
        turned, self._looked = self._looked, time.monotonic()
        group = self.process_groups.get(HIVED)
        if group is not None:
            self._look(group.processes[HIVED], min(self._looked - turned, TURN))

    def _look(self, hived: Any, seconds: float) -> None:
        """Look at hived, which had so many seconds more to answer."""
        if hived.pid != self._pid:
            self._pid, self._judge = hived.pid, Stillness(BUSY)  # a settings file may do what it likes as it is read
        sign = (hived.listener_state, getattr(hived.event, "serial", 0))
        is_ready = hived.listener_state == EventListenerStates.READY
        if sign != self._sign or is_ready or hived.state not in UP:
            self._judge, self._sign, self._printing = self._anew(is_ready=is_ready), sign, None
        elif self._printing is not None:
            self._printing += seconds
            if self._printing >= STACKS:
                self._end(hived)
        elif self._judge.look(seconds, doing(hived.pid)):
            self._printing = 0.0
            _signal(hived.pid, signal.SIGUSR1)

    def _anew(self, *, is_ready: bool) -> Stillness:
        if is_ready:
            return Stillness()
        self._judge.heard()
        return self._judge

    def _end(self, hived: Any) -> None:
        seen = doing(hived.pid)
        found = Stood(HIVED, hived.pid, seen.state if seen else "", self._judge.silent, time.time())
        stood.write(Path(self.options.configfile).parent / "run" / FILE, found)
        self.options.logger.critical(found.text)
        self._printing = None
        _signal(hived.pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
