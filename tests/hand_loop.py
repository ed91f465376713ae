"""An event loop that is turned by hand, one callback at a time, and a clock that a test turns."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import os
import socket
import time
from collections.abc import Coroutine, Iterator
from typing import Any

_really = time.monotonic


class Clock:
    """What ``time.monotonic`` says while a world is there."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return _really() + self.ahead

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        time.monotonic = self
        try:
            yield
        finally:
            time.monotonic = _really
            gc.collect()  # what killed lives left open is complained of here, and not in other tests


class HandLoop(asyncio.SelectorEventLoop):
    """An event loop that runs one callback when it is told to: ``step``. Otherwise it is asyncio's own."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self._turn = 0  # callbacks that are left of this turn
        self._inside: Any = self

    def fileno(self) -> int:
        """What gets readable when something has come for it."""
        return int(self._inside._selector.fileno())

    def step(self) -> bool:
        """Run one callback; False if none is ready."""
        inside = self._inside
        if not self._turn:
            self._look()
            self._turn = len(inside._ready)
        if not self._turn:
            return False
        self._turn -= 1
        handle = inside._ready.popleft()
        if not handle._cancelled:
            self.steps += 1
            with self.current():
                handle._run()
        return True

    def _look(self) -> None:
        """What has come, and which timers are due."""
        inside = self._inside
        self._events()
        now = self.time() + inside._clock_resolution
        while inside._scheduled and inside._scheduled[0]._when < now:
            handle = heapq.heappop(inside._scheduled)
            handle._scheduled = False
            inside._ready.append(handle)

    def _events(self) -> None:
        self._inside._process_events(self._inside._selector.select(0))

    def due(self) -> float:
        """Seconds until its next timer."""
        scheduled = self._inside._scheduled
        return max(0.0, scheduled[0]._when - self.time()) if scheduled else 60.0

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Let it be the running loop."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    def cut(self) -> None:
        """Close its connections as the kernel does when a process or a network dies: what was written has left, what
        has come and was not read is lost.
        """
        for key in list(self._inside._selector.get_map().values()):
            if key.fd == self._inside._ssock.fileno():
                continue
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(key.fd)) as end:
                with contextlib.suppress(BlockingIOError):
                    while end.recv(1 << 20, socket.MSG_DONTWAIT):
                        pass
                end.shutdown(socket.SHUT_RDWR)

    def bury(self, last: Coroutine[Any, Any, None]) -> None:
        """End what is left of it, once nobody looks any more: its tasks, then ``last``."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        self._run_out()
        with self.current():
            self.create_task(last)
        self._run_out()
        for task in asyncio.all_tasks(self):
            task.cancel()
        self._run_out()
        self.close()

    def _run_out(self) -> None:
        for _ in range(5000):
            if not self.step():
                break
