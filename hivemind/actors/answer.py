"""What comes back of something that was asked: awaited on the loop, waited for on any other thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator
from typing import Any

from ..errors import ActorError, RequestTimeout

Future = asyncio.Future[Any] | concurrent.futures.Future[Any]


class Answer:
    """``await answer`` in an ``async def``, ``answer.get()`` in a ``def``: what the handler returned.

    Raises what came instead: RemoteError where the handler raised, RequestTimeout, NoActor, RequestLost.
    """

    __slots__ = ("_future", "_over", "_timer", "what")

    def __init__(self, future: Future, what: str, over: Callable[[Answer], None]) -> None:
        self._future, self.what, self._over = future, what, over
        self._timer: asyncio.TimerHandle | None = None

    def expire(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Raise RequestTimeout in so many seconds, unless it has come by then. On the loop only."""
        if not self.is_done:
            error = RequestTimeout(self.what, f"no answer within {seconds:g} s")
            self._timer = loop.call_later(seconds, self.fail, error)

    def give(self, value: Any) -> None:
        """It has come. On the loop only; what comes later than something else is ignored."""
        self._settled()
        if not self.is_done:
            self._future.set_result(value)

    def fail(self, error: BaseException) -> None:
        """It will not come. On the loop only."""
        self._settled()
        if not self.is_done:
            self._future.set_exception(error)
            self._future.exception()  # whoever does not look at it may

    @property
    def is_done(self) -> bool:
        """Whether it has come, or never will."""
        return self._future.done()

    def get(self) -> Any:
        """Wait for it on this thread."""
        if isinstance(self._future, asyncio.Future):
            raise ActorError(f"{self.what}: an answer cannot be waited for on the loop itself: write `await` here")
        return self._future.result()

    def __await__(self) -> Generator[Any, None, Any]:
        if isinstance(self._future, asyncio.Future):
            return self._future.__await__()
        return asyncio.wrap_future(self._future).__await__()

    def _settled(self) -> None:
        self._over(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
