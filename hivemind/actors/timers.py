"""What an actor is to do later: once, or again and again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .mailbox import Turn

if TYPE_CHECKING:
    from .cell import Cell


class Timer:
    """Calls ``function`` on the actor's own turn. Ends with ``cancel()``, and with the actor."""

    __slots__ = ("_arguments", "_cell", "_function", "_handle", "_is_over", "every", "seconds")

    def __init__(
        self, cell: Cell, seconds: float, every: float | None, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        for each in (seconds, 0.0 if every is None else every):
            if not math.isfinite(each):
                raise ValueError(f"{each} is no number of seconds to wait")
        if every is not None and every <= 0:
            raise ValueError(f"every {every} s: write more than 0")
        self.seconds, self.every = max(0.0, seconds), every
        self._cell, self._function, self._arguments = cell, function, arguments
        self._handle: asyncio.TimerHandle | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether it will not call any more."""
        return self._is_over

    def cancel(self) -> None:
        """Call no more. From any thread; may be called twice."""
        self._is_over = True
        self._cell.system.do(self._forget)

    def begin(self, due: float) -> None:
        """Wait, until ``due`` by the loop's time. On the loop only."""
        if self._is_over:
            return
        if self._cell.timers is None:
            self._cell.timers = set()
        self._cell.timers.add(self)
        self._handle = self._cell.system.loop.call_at(due, self._fire, due)

    def _fire(self, due: float) -> None:
        if self._is_over:
            return
        is_async = asyncio.iscoroutinefunction(self._function)
        self._cell.put(Turn(self._function, self._arguments, is_async))
        if self.every is None:
            self._is_over = True
            self._forget()
        else:
            now = self._cell.system.loop.time()
            missed = max(
                0, math.ceil((now - due) / self.every) - 1
            )  # what it could not do in time it does not do twice
            self.begin(due + self.every * (missed + 1))

    def _forget(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._cell.timers is not None:
            self._cell.timers.discard(self)
