"""What the keeper does for a program's lives: it notes how the last one ended, and waits until the next may begin."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..identity import this_boot
from .files import tail, time_of
from .heard import Heard
from .last_words import last_words
from .lives import FIRST, HUNG, LAST, LONGEST, Lives, exit_in, hung, load_lives, save_lives

LOOK = 1.0  # seconds between looks at whether supervisord, our parent, still lives, and whether a file has changed
TAIL = 65536  # bytes at the end of supervisord's log among which an exit is looked for
MOST_WORDS = 300  # characters of somebody's last words


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a program's ``lives`` are written down, and what tells of their ends.

    ``printed`` and ``log`` are where its last words may be. ``watched`` are the files of its code: one that changes
    ends a wait. ``longest`` is the longest wait, in seconds.
    """

    program: str
    lives: Path
    supervisord_log: Path
    printed: Path
    log: Path | None = None
    watched: tuple[Path, ...] = ()
    longest: float = LONGEST

    def adopted(self) -> None:
        """The present life goes on under another supervisord."""
        boot = this_boot()
        save_lives(self.lives, replace(load_lives(self.lives, boot), is_adopted=True), boot)

    def wait(self) -> bool:
        """Note that the last life is over, wait, and note that the next begins.

        False, and no life may begin: we were asked to stop meanwhile, or supervisord is gone.
        """
        boot, stamps = this_boot(), self._stamps()
        found = self._ended(boot)
        if found.next is not None and not self._sleep(found.next, stamps):
            return False
        if stamps != self._stamps():
            found = Lives(lives=found.lives)
        save_lives(self.lives, found.begun(time.monotonic(), os.getpid()), boot)
        return True

    def _ended(self, boot: str) -> Lives:
        now, before = time.monotonic(), load_lives(self.lives, boot)
        how = exit_in(tail(self.supervisord_log, TAIL), self.program, before.pid)
        words = HUNG if hung(self.lives, before.pid) else ""
        if not words and before.began is not None and how.status != 0:
            words = self._words(before.began, now)
        found = before.ended(now, how, words, longest=self.longest, rng=random.random)
        if not save_lives(self.lives, found, boot) and found.next is None:
            return replace(found, next=now + FIRST)  # nobody can count: it is slow rather than mad
        return found

    def _words(self, began: float, now: float) -> str:
        """The last that it said of an error, if it said so as it ended."""
        since = max(began, now - LAST) + time.time() - time.monotonic()
        return last_words(self.printed, self.log, since)[:MOST_WORDS]

    def _sleep(self, due: float, stamps: list[int]) -> bool:
        heard, parent = Heard(), os.getppid()
        while (left := due - time.monotonic()) > 0 and stamps == self._stamps():
            heard.wait(min(left, LOOK))
            if heard.is_asked_to_stop or os.getppid() != parent:
                return False
        return True

    def _stamps(self) -> list[int]:
        return [time_of(path) for path in self.watched]
