"""A hive in the foreground: `hived start --foreground` and `hm dev`. One merged log, and one process to end it all.

supervisord runs in a session of its own, so that Ctrl-C reaches only us; we then stop everything in order. Killed
with -9 we leave a hive that runs on; started again we take it over.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import HivemindError
from ..identity import PidFile, ProcessIdentity
from .engine import Engine
from .follow import Entry, MergedLog
from .lifecycle import start, stop, wait_for_redis
from .standing import Third
from .status import page
from .strays import in_words, with_below
from .topology import Problem, Selection

STEP = 0.1  # seconds between looks
SIGNALS = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))  # Windows has no SIGHUP


class Screen(Protocol):
    """Where a hive in the foreground is shown."""

    def entry(self, entry: Entry, width: int) -> None:
        """Show one entry of a program's log; the longest name of a program has so many letters: ``width``."""

    def say(self, text: str) -> None:
        """Show a remark of ours."""

    def problem(self, problem: Problem) -> None:
        """Show why a node does not run."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every STEP while the hive runs; ``close`` when it ends."""

    step: Callable[[], None]
    close: Callable[[], None]


class Foreground:
    """Runs one hive until a signal, `hived stop`, or an error ends it."""

    def __init__(self, engine: Engine, screen: Screen, selection: Selection, job: Job | None = None) -> None:
        self.engine, self.screen, self.selection, self.job = engine, screen, selection, job
        self._log = MergedLog(engine)
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._page = ""
        self._supervisord: ProcessIdentity | None = None
        self._is_told = False
        self._record, self._third = PidFile(engine.paths.foreground), Third(engine)

    def run(self) -> bool:
        """Return True when the hive has stopped; False at once if it already runs and somebody else minds it.

        Raises what ``lifecycle.start`` raises. SIGINT, SIGTERM and SIGHUP stop everything; a second one kills.
        """
        if self._is_minded():
            return False
        before = self._catch_signals()
        with self.engine.paths.writing():
            self.engine.paths.make()
            self._record.write(ProcessIdentity.current())
        try:
            self._begin(self.selection)
            while self._goes_on():
                self._step()
            self._end()
        finally:
            self._record.remove()
            self._log.close()
            for number, handler in before.items():
                signal.signal(number, handler)
        return True

    def _is_minded(self) -> bool:
        """Whether the hive runs detached, or another process has it in its foreground."""
        if not self.engine.is_running():
            return False
        record = self._record.read()
        return record is None or record.identity.is_alive()

    def _catch_signals(self) -> dict[int, Any]:
        def asked(number: int, frame: object) -> None:
            del number, frame
            self._asked += 1

        wanted = [each for each in SIGNALS if not (each == signal.SIGHUP and signal.getsignal(each) == signal.SIG_IGN)]
        return {number: signal.signal(number, asked) for number in wanted}

    def _begin(self, selection: Selection | None) -> None:
        started = start(self.engine, selection)
        self._process = started.process
        self._supervisord, self._is_told = self.engine.supervisord(), False
        wait_for_redis(self.engine, lambda: self._asked > 0)
        for problem in started.plan.problems:
            self.screen.problem(problem)
        for name in started.adopted:
            self.screen.say(f"{name} was still running and goes on")

    def _goes_on(self) -> bool:
        """Whether there is still something to mind; a supervisord that died is replaced here, and so are the two that
        watch over each other, when both stand still.
        """
        if self._asked:
            return False
        if self._process is not None:
            self._process.poll()  # so that it leaves no zombie
        if self._third.sees():
            self.screen.say("hived and supervisord both stand still: replacing them")
            self._begin(None)
            return True
        if (found := self.engine.supervisord()) is not None:
            self._supervisord = found
            return True
        if self.engine.paths.stopping.exists():
            return False
        if self._supervisord is not None and self._supervisord.is_alive():
            self._tell_removed(self._supervisord)
            return True
        self.screen.say("supervisord is gone although nobody asked for it: starting a new one")
        self._begin(None)
        return True

    def _tell_removed(self, supervisord: ProcessIdentity) -> None:
        """It lives, and its files do not: no reason to do anything but to say so, once."""
        if not self._is_told:
            self._is_told = True
            self.screen.say(f"{in_words(self.engine, with_below([supervisord]))}; Ctrl-C ends it, too")

    def _step(self) -> None:
        self._show()
        if self.job is not None:
            self.job.step()
        if not self._page and (where := page(self.engine)):
            self.screen.say(f"the page is at {where}")
            self._page = where
        time.sleep(STEP)

    def _show(self) -> None:
        for entry in self._log.read():
            self.screen.entry(entry, self._log.width)

    def _end(self) -> None:
        if self.job is not None:
            self.job.close()
        self.screen.say("stopping; once more kills what is left" if self._asked else "hived was asked to stop")
        failed: list[HivemindError] = []
        stopper = threading.Thread(target=self._stop, args=(failed,), name="stop")
        stopper.start()
        while stopper.is_alive():
            self._show()
            stopper.join(STEP)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        self._show()
        if failed:
            raise failed[0]

    def _stop(self, failed: list[HivemindError]) -> None:
        try:
            stop(self.engine, lambda: self._asked > 1)
        except HivemindError as error:
            failed.append(error)
