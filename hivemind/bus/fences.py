"""Fences on a connection that receives: signs that all that was sent before them has been read."""

from __future__ import annotations

from collections.abc import Callable

Passed = Callable[[], None]


class Fences:
    """Those that wait for a PING that is under way, and those for the next; ``ask`` sends one."""

    def __init__(self, ask: Passed) -> None:
        self._ask = ask
        self._here: list[Passed] = []
        self._next: list[Passed] = []
        self._is_answered = False

    def add(self, passed: Passed) -> None:
        """Call ``passed`` when all that was sent by now is read, or lost with the connection."""
        self._next.append(passed)
        if not self._here:
            self._begin()

    def _begin(self) -> None:
        self._here, self._next = self._next, []
        self._ask()

    def answered(self) -> None:
        """The answer has come, in a buffer of which not all is delivered yet."""
        self._is_answered = True

    def let_pass(self) -> None:
        """The buffer is delivered."""
        if self._is_answered:
            self._is_answered = False
            here, self._here = self._here, []
            if self._next:
                self._begin()
            for passed in here:
                passed()

    def end(self) -> list[Passed]:
        """The connection is gone, and with it what was under way: return whom to tell."""
        left = [*self._here, *self._next]
        self._here, self._next, self._is_answered = [], [], False
        return left
