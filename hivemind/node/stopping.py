"""One wish to stop, for threads and tasks alike; and the words for what did not stop."""

from __future__ import annotations

import asyncio
import linecache
import sys
import threading
import traceback
from types import FrameType
from typing import Any

from ..clock import REAL


class Stop:
    """Set once, on the loop; seen at once by whoever sleeps on a thread or on the loop. ``clock`` says how long."""

    def __init__(self) -> None:
        self.clock = REAL
        self._thread = threading.Event()
        self._loop = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether it is time to stop."""
        return self._thread.is_set()

    def set(self) -> None:
        """It is time to stop. On the loop."""
        self._thread.set()
        self._loop.set()

    def sleep(self, seconds: float) -> bool:
        """Sleep on a thread; False as soon as it is time to stop, also if it was before."""
        return not self.clock.wait(self._thread, max(0.0, seconds))

    async def sleep_async(self, seconds: float) -> bool:
        """The same on the loop; gives the loop a turn in any case."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._loop.wait()
        except TimeoutError:
            await asyncio.sleep(0)
        return not self._thread.is_set()


def where_thread(thread: threading.Thread) -> str:
    """The stack of a thread that does not end, and advice where the reason is plain."""
    frame = sys._current_frames().get(thread.ident or 0)
    return _stack(frame) if frame is not None else "it has just ended"


def where_task(task: asyncio.Task[object]) -> str:
    """The stack of a task that does not end."""
    frames: list[FrameType] = []
    inner: Any = task.get_coro()
    while (frame := getattr(inner, "cr_frame", None)) is not None:  # a coroutine, and what it waits for
        frames.append(frame)
        inner = getattr(inner, "cr_await", None)
    return "\n".join(map(_stack, frames)) or "it has no frame"


def _stack(frame: FrameType) -> str:
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    advice = "\nit sleeps in time.sleep, which cannot be woken: use service.sleep_for" if "sleep(" in line else ""
    return "".join(traceback.format_stack(frame)).rstrip() + advice
