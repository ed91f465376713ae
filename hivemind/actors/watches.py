"""Who is told of whose end: the notice of a link goes to ``exited``, that of a monitor to a function of its own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .mailbox import Turn
from .pid import PID

if TYPE_CHECKING:
    from .cell import Cell

Notice = Callable[[PID, str], Any]


class Watch:
    """``owner`` is told once that ``to`` has ended, and why: on its own turn, ahead of what waits for it."""

    __slots__ = ("_is_over", "is_link", "notice", "owner", "to")

    def __init__(self, owner: Cell, to: PID, notice: Notice, *, is_link: bool) -> None:
        self.owner, self.to, self.notice, self.is_link = owner, to, notice, is_link
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether it tells nothing any more: it did, or was cancelled."""
        return self._is_over

    def begin(self) -> None:
        """Watch. On the loop only."""
        if self.owner.watches is None:
            self.owner.watches = set()
        if not self._is_over:
            self.owner.watches.add(self)
            self.owner.system.watch(self)

    def cancel(self) -> None:
        """Tell nothing. From any thread; may be called twice."""
        self._is_over = True
        self.owner.system.do(self._forget)

    def tell(self, reason: str) -> None:
        """It has ended. On the loop only."""
        if self._is_over:
            return
        self._is_over = True
        self._forget()
        arguments = (self.to, reason) if takes_reason(self.notice) else (self.to,)
        self.owner.put_first(Turn(self.notice, arguments, asyncio.iscoroutinefunction(self.notice)))

    def _forget(self) -> None:
        if self.owner.watches is not None:
            self.owner.watches.discard(self)
        self.owner.system.unwatch(self)


def takes_reason(notice: Callable[..., Any]) -> bool:
    """Whether it takes more than the pid."""
    try:
        inspect.signature(notice).bind(None, "")
    except TypeError:
        return False
    return True
