"""SIGTERM and Ctrl-C: a process that is asked to stop does, even if its event loop does not turn any more."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

INTERRUPTED = 130  #: exit code of a process that was told twice
STUCK = 1  #: exit code of a process that could not stop
SLACK = 1.0  #: seconds beyond the time limit until a process that does not stop ends itself


class Signals:
    """While entered, the first SIGTERM or SIGINT calls ``ask`` on the loop; the second ends the process at once.

    Python's own handlers are used, not the loop's: they run in the middle of a handler that never gives the loop back.
    When the process has not ended ``limit`` seconds later (plus a little), it writes the stacks of all threads to
    standard error and ends itself. Python started in a shell's background has SIGINT ignored: not here. On a thread
    that is not the main one nothing is done: there signals are somebody else's.
    """

    def __init__(self, ask: Callable[[], None], limit: float) -> None:
        self._ask, self._limit = ask, limit
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Any] = {}
        self._is_asked = False
        self._last_resort: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._asked) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last_resort is not None:
            self._last_resort.cancel()
        for number, before in self._before.items():
            signal.signal(number, before)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_asked:
            os._exit(INTERRUPTED)
        self._is_asked = True
        self._last_resort = threading.Timer(self._limit + SLACK, self._give_up)
        self._last_resort.daemon = True
        self._last_resort.start()
        self._loop.call_soon_threadsafe(self._ask)

    def _give_up(self) -> None:
        os.write(2, b"did not stop in time and is ended; the stacks of all threads:\n")
        faulthandler.dump_traceback(file=2, all_threads=True)
        os._exit(STUCK)
