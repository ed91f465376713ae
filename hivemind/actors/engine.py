"""The loop on which actors live: on a thread of its own, or one that runs already; and how other threads reach it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import ActorError

log = logging.getLogger(__name__)


class Engine:
    """Runs a loop on a thread of its own, from ``start`` to ``stop``; or uses ``loop``, which somebody else runs."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.name, self.loop = name, loop if loop is not None else new_loop()
        self._is_ours = loop is None
        self._thread: threading.Thread | None = None
        self.ident = threading.get_ident() if loop is not None and _is_running(loop) else 0
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._is_called = False
        self._began = threading.Event()

    def start(self) -> None:
        """Run it. May be called again, but not once it was stopped."""
        if not self._is_ours:
            if self.ident == 0:
                self.loop.call_soon_threadsafe(self._be_here)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        self._began.wait()

    @property
    def is_here(self) -> bool:
        """Whether this is the thread of the loop."""
        return threading.get_ident() == self.ident

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs on a thread of ours."""
        return self._thread is not None and self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it ends, for so many seconds at most."""
        if self._thread is not None and not self.is_here:
            self._thread.join(timeout)

    def stop(self) -> None:
        """End the loop, if it is ours: whatever still waits on it is cancelled. On the loop only."""
        if self._is_ours:
            self.loop.stop()

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it on the loop, after whatever was to be called before. From any thread, which does not wait."""
        self._calls.append((function, arguments))
        if not self._is_called:
            self._is_called = True
            try:
                self.loop.call_soon_threadsafe(self._take_calls)
            except RuntimeError:  # the loop is closed: whatever it was, it is over
                self._calls.clear()

    def do(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it now where this is the loop, else soon."""
        if threading.get_ident() == self.ident:
            function(*arguments)
        else:
            self.call(function, *arguments)

    def wait(self, coroutine: Any, timeout: float | None = None) -> Any:
        """Run a coroutine on the loop, and wait on this thread for what it returns."""
        if self.is_here:
            coroutine.close()
            raise ActorError("the loop cannot wait for itself: this is to be called on another thread")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def _be_here(self) -> None:
        self.ident = threading.get_ident()

    def _take_calls(self) -> None:
        self._is_called = False  # what is appended from now on calls anew
        calls = self._calls
        for _ in range(len(calls)):
            function, arguments = calls.popleft()
            try:
                function(*arguments)
            except Exception:
                log.exception("%s: a call from another thread failed", self.name)

    def _run(self) -> None:
        loop = self.loop
        asyncio.set_event_loop(loop)
        self._be_here()
        loop.call_soon(self._began.set)
        try:
            loop.run_forever()
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop where that is installed, else of asyncio."""
    try:
        made: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    except ImportError:
        made = asyncio.new_event_loop()
    return made


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
