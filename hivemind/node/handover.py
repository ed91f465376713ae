"""From who has work to who does it, on one loop: waiting costs something only where there is nothing to do."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """What waits, in order. A taker looks whether ``waiting`` has something, and else awaits ``next()``."""

    __slots__ = ("_takers", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[T] = deque()
        self._takers: deque[asyncio.Future[None]] = deque()

    def put(self, one: T) -> None:
        """Hand it to whoever waits longest, or comes next."""
        self.waiting.append(one)
        if self._takers:
            self._wake()

    async def next(self) -> T:
        """Take one, as soon as there is one."""
        while not self.waiting:
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if self.waiting:
                    self._wake()
                raise
        return self.waiting.popleft()

    def _wake(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return
