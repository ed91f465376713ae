"""Tells a node of its gaps: of messages that were sent, and never came."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..burst import Burst
from ..cancelling import RAISED, end, is_ending
from ..english import amount

if TYPE_CHECKING:
    from .base import BaseNode

MOST = 1000  #: gaps that wait for the hook; more are only counted


class Gaps:
    """Calls a node's ``on_gap``, if it has one, for one gap after the other: on the loop what is an ``async def``, on a
    thread what is a ``def``. Whatever it raises or however long it takes, no message waits for it.
    """

    def __init__(self, node: BaseNode, is_wanted: bool) -> None:
        self._node, self._is_wanted = node, is_wanted
        self._gaps: deque[tuple[str, str, int, int]] = deque()
        self._too_many = Burst()
        self._task: asyncio.Task[None] | None = None

    def tell(self, topic: str, sender: str, first: int, last: int) -> None:
        """Messages ``first`` to ``last`` of a sender will not come. On the loop."""
        if not self._is_wanted:
            return
        if len(self._gaps) >= MOST:
            if (held := self._too_many.first()) is not None:
                self._node.logger.error("on_gap is too slow: it is not told of %s", amount(held + 1, "gap"))
            return
        self._gaps.append((topic, sender, first, last))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="on_gap")

    async def stopped(self, timeout: float) -> None:
        """Return when all was told; after ``timeout`` seconds give up."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=timeout)
            await end(self._task)

    async def _run(self) -> None:
        while self._gaps:
            try:
                await self._call(*self._gaps.popleft())
            except RAISED as error:
                if is_ending(error):
                    raise
                self._node.logger.error("on_gap failed", exc_info=error)

    async def _call(self, *gap: Any) -> None:
        hook = self._node.on_gap
        result = hook(*gap) if inspect.iscoroutinefunction(hook) else await _on_thread(lambda: hook(*gap))
        if inspect.isawaitable(result):
            await result


async def _on_thread(function: Any) -> Any:
    """Call ``function`` on a thread that keeps no process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result = error = None
        try:
            result = function()
        except RAISED as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="on_gap", daemon=True).start()
    return await done
