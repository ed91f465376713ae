"""hived and supervisord watch over each other: who stops both stops that, too. What others can see of it, and do.

Who was stopped by a signal (SIGSTOP) does nothing, whatever it waits for; of one that seems to wait nobody but the two
themselves can tell.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping

from ..english import are
from ..errors import SupervisorError
from ..identity import PidFile, ProcessIdentity
from ..process_table import HELD, STOPPED, doing
from .engine import Engine
from .halt import END_TIMEOUT, gone
from .keeper import kill
from .stillness import STILL
from .stood import HIVED, SUPERVISORD

LOOK = 1.0  # seconds between two looks of who looks all the time
SURE = 0.5  # seconds for which one that is to be killed at once must stand still before our eyes


def is_stopped(process: ProcessIdentity) -> bool:
    """Whether a process that lives was stopped by a signal, and has not gone on."""
    seen = doing(process.pid)
    return seen is not None and seen.state == STOPPED


def is_held(process: ProcessIdentity) -> bool:
    """Whether a debugger has stopped a process that lives: that is somebody's wish, and is left alone."""
    seen = doing(process.pid)
    return seen is not None and seen.state == HELD


def stopped(engine: Engine) -> dict[str, ProcessIdentity]:
    """Which of hived and supervisord stands still at this moment, stopped by a signal; by name."""
    both = {HIVED: PidFile(engine.paths.listener).living(), SUPERVISORD: engine.supervisord()}
    found = {who: one for who, one in both.items() if one is not None}
    return {who: one for who, one in found.items() if is_stopped(one)}


def in_words(engine: Engine, found: Mapping[str, ProcessIdentity]) -> str:
    """What to say of those that are ``stopped``, and what is to be done; "" if there are none."""
    if not found:
        return ""
    names = [f"{who} (process {one.pid})" for who, one in found.items()]
    told = f"{' and '.join(names)} {are(names)} stopped by a signal"
    if len(found) == 1:
        other = SUPERVISORD if HIVED in found else HIVED
        return f"{told}: {other} replaces it within 20 s if it stays so, `hived start` does at once"
    told += ": all that runs goes on, but who ends is not started again"
    minder = PidFile(engine.paths.foreground).living()
    if minder is not None and not is_stopped(minder):
        return f"{told}; process {minder.pid}, which has the hive in its foreground, replaces both within 20 s"
    return f"{told}; `hived start` replaces both"


def refuse_stopped(engine: Engine) -> None:
    """Raise SupervisorError, which says what to do, where supervisord is stopped by a signal: it would not answer."""
    found = stopped(engine)
    if SUPERVISORD in found:
        raise SupervisorError(in_words(engine, found))


def end_stopped(engine: Engine) -> dict[str, ProcessIdentity]:
    """Kill which of the two does not go on for SURE seconds, and return when they have ended; whom it was.

    hived is the first: so nobody is left whom it would keep waiting. What runs under them goes on.
    """
    first = stopped(engine)
    if first:
        time.sleep(SURE)
    found = {who: one for who, one in stopped(engine).items() if first.get(who) == one}
    for one in found.values():
        kill(one, signal.SIGKILL)
    gone(found.values(), END_TIMEOUT)
    return found


class Third:
    """For whoever has a hive in the foreground: sees when both stand still, and nobody else will. ``clock`` tells
    seconds.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock, self._looked = engine, clock, clock()
        self._seen: dict[str, ProcessIdentity] = {}
        self._seconds = 0.0  # of our own time for which it has been so

    def sees(self) -> bool:
        """Whether both have stood still for as long as either would have taken to find the other; cheap."""
        now = self._clock()
        if now - self._looked < LOOK:
            return False
        passed, self._looked = min(now - self._looked, 2 * LOOK), now
        before, self._seen = self._seen, stopped(self._engine)
        is_so = len(self._seen) > 1 and before == self._seen
        self._seconds = self._seconds + passed if is_so else 0.0
        return self._seconds >= STILL
