"""The lives of one program: how each ended, and when the next may begin. The keeper keeps them, in one small file.

========== ====================== ============================== ================= ======================
state      a life of STEADY ends  a shorter one ends             somebody asks     a file of it changes
========== ====================== ============================== ================= ======================
steady     steady, at once        failing(1), at once            forgotten         -
failing(n) steady, at once        failing(n + 1), after a wait   forgotten         forgotten, at once
========== ====================== ============================== ================= ======================

The wait is about 2, 6, 18, 54 and then 60 seconds, of which up to a half is left to chance: at most six lives begin in
the first minute, at most two in each later one, and it is never given up. Times in the file are of the machine's
monotonic clock, so that no clock that is set changes a wait; whoever reads gets unix seconds.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ..english import duration
from ..identity import this_boot
from ..whole import put

if TYPE_CHECKING:  # every start of a program imports this file: it is kept light
    from .paths import HivePaths

STEADY = 10.0  #: seconds that a life must last for the program not to be failing
MANY = 2  #: lives in a row that ended early: who fell once may have been pushed
FIRST, FACTOR, LONGEST = 2.0, 3.0, 60.0  #: seconds: the wait after the second early end, its growth, its end
KEPT = 5  #: lives that are remembered
HUNG = "it hung: its lease was not renewed"  #: the last words of who was killed for that
LAST = 3.0  #: seconds before its end in which a word of an error is taken for its last
GREATEST = 1e12  #: seconds; what is more is no time


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its ``status``, or the ``signal`` that killed it (SIGSEGV); None and "" if nobody knows."""

    status: int | None = None
    signal: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """A life that is over: when it began and ended in seconds, how, and the last that it said of an error."""

    began: float
    ended: float
    status: int | None = None
    signal: str = ""
    words: str = ""

    @property
    def text(self) -> str:
        """How it ended, for people."""
        if self.signal:
            how = f"died of {self.signal}"
        else:
            how = "ended" if self.status is None else f"ended with {self.status}"
        told = ", nobody learns how" if self.is_unknown else ""
        return f"{how} after {_length(max(0.0, self.ended - self.began))}{told}"

    @property
    def is_unknown(self) -> bool:
        """Whether nobody knows how it ended: it was adopted."""
        return self.status is None and not self.signal

    @property
    def blamed_since(self) -> float:
        """From when on an error may be why it ended: of whom nobody knows that it ended by itself, one of its last
        seconds, as it went on after those before.
        """
        return self.began if self.status is not None else max(self.began, self.ended - LAST)


@dataclass(frozen=True, slots=True)
class Lives:
    """What is known of a program's lives. Times are seconds of whichever clock it was made with.

    ``failures`` is how many of them, the last ones, ended early; ``next`` when the next begins, None when that has
    begun or begins at once; ``lives`` are the last KEPT that are over, oldest first; ``began`` and ``pid`` are of the
    present one, or of the last where none has begun since.
    """

    failures: int = 0
    next: float | None = None
    lives: tuple[Ended, ...] = ()
    began: float | None = None
    pid: int = 0
    is_adopted: bool = False  # it outlived a supervisord: nobody will learn its exit status

    def ended(
        self, now: float, how: Exit, words: str = "", *, longest: float = LONGEST, rng: Callable[[], float]
    ) -> Lives:
        """The present life is over. ``longest`` is the longest wait for the next, in seconds."""
        if self.began is None:
            return replace(self, next=None)
        known = Exit() if self.is_adopted else how
        over = Ended(self.began, now, known.status, known.signal, words)
        failures = self.failures + 1 if now - self.began < STEADY else 0
        due = now + delay(failures, longest, rng) if failures >= MANY else None
        return Lives(failures, due, (*self.lives, over)[-KEPT:])

    def begun(self, now: float, pid: int) -> Lives:
        """The next life begins."""
        return replace(self, next=None, began=now, pid=pid, is_adopted=False)

    def moved(self, seconds: float) -> Lives:
        """The same on a clock that is so many seconds ahead."""
        lives = tuple(replace(each, began=each.began + seconds, ended=each.ended + seconds) for each in self.lives)
        due = None if self.next is None else self.next + seconds
        return replace(self, next=due, began=None if self.began is None else self.began + seconds, lives=lives)

    @property
    def keeps_ending(self) -> bool:
        """Whether it ends early again and again, whoever ends it."""
        return self.failures >= MANY

    @property
    def is_loop(self) -> bool:
        """Whether it does so by itself, so that it is called failing even while it is up: not who was killed last, as a
        SIGKILL comes from somebody else and says nothing of its code, unless because it hung.
        """
        last = self.lives[-1] if self.lives else None
        return self.keeps_ending and last is not None and (last.signal != "SIGKILL" or last.words == HUNG)

    def text(self, now: float) -> str:
        """How it ended last and when it is tried again, for people; "" if it has not ended yet."""
        if not self.lives:
            return ""
        times = f", {self.failures} times in a row" if self.keeps_ending else ""
        wait = "" if self.next is None else f"; next try in {max(0.0, self.next - now):.0f} s"
        return f"{self.lives[-1].text}{times}{wait}"


def delay(failures: int, longest: float = LONGEST, rng: Callable[[], float] = random.random) -> float:
    """Seconds to wait after so many early ends in a row, MANY or more."""
    ceiling = min(longest, FIRST * FACTOR ** min(failures - MANY, 30))
    return ceiling * (0.5 + 0.5 * rng())


def read_lives(paths: HivePaths, program: str) -> Lives:
    """The lives of ``program`` since it was last started on purpose, with unix times. Never raises."""
    now, found = time.monotonic(), load_lives(paths.program_lives(program), this_boot())
    if found.next is None and found.began is not None and now - found.began >= STEADY:
        found = replace(found, failures=0)
    return found.moved(time.time() - now)


def forget(paths: HivePaths, program: str) -> None:
    """Somebody starts ``program`` on purpose, or it goes: what was counts no more."""
    for path in (paths.program_lives(program), _hung(paths.program_lives(program))):
        path.unlink(missing_ok=True)


def say_hung(paths: HivePaths, program: str, pid: int) -> None:
    """The process ``pid`` of ``program`` hangs, and is about to be killed for it: so that its keeper knows. Never
    raises.
    """
    with suppress(OSError):
        put(_hung(paths.program_lives(program)), b"%d" % pid)


def hung(path: Path, pid: int) -> bool:
    """Whether that process, whose lives are in ``path``, was killed because it hung; asked once."""
    try:
        said = _hung(path).read_bytes()
        _hung(path).unlink()
    except OSError:
        return False
    return said == b"%d" % pid


def _hung(path: Path) -> Path:
    return path.with_suffix(".hung")


def load_lives(path: Path, boot: str) -> Lives:
    """What ``path`` holds, with monotonic times; nothing if it is missing, spoilt, or of another ``boot``."""
    try:
        found = orjson.loads(path.read_bytes())
        return _lives(found) if found["boot"] == boot else Lives()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return Lives()


def save_lives(path: Path, lives: Lives, boot: str) -> bool:
    """Write them, also where the disk is full if the file is there; False if that cannot be."""
    try:
        put(path, orjson.dumps({"boot": boot, **asdict(lives)}))
    except OSError:
        return False
    return True


def exit_in(log: bytes, program: str, pid: int) -> Exit:
    """How the process ``pid`` of ``program`` ended, by the end of supervisord's log: nobody else hears of it."""
    name = re.escape(program)
    lines = rf"spawned: '{name}' with pid (\d+)|exited: {name} \((?:exit status (\d+)|terminated by (\w+))"
    found, spawned = Exit(), 0
    for match in re.finditer(lines, log.decode(errors="replace")):
        if match[1]:
            spawned = int(match[1])
        elif spawned == pid:
            found = Exit(int(match[2])) if match[2] else Exit(None, match[3])
    return found


def _lives(found: Mapping[str, Any]) -> Lives:
    lives = tuple(
        Ended(_time(each["began"]), _time(each["ended"]), _whole(each), str(each["signal"]), str(each["words"]))
        for each in found["lives"]
    )
    due, began = (None if found[name] is None else _time(found[name]) for name in ("next", "began"))
    return Lives(int(found["failures"]), due, lives, began, int(found["pid"]), bool(found["is_adopted"]))


def _time(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or abs(raw) > GREATEST:
        raise ValueError(f"{raw!r} is no time")
    return float(raw)


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < STEADY else duration(seconds)


def _whole(found: Mapping[str, Any]) -> int | None:
    return None if found["status"] is None else int(found["status"])
