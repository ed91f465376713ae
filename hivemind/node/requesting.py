"""How nodes and clients ask: on the loop one awaits, on threads one calls."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from ..bus.bus import Bus
from ..bus.replies import Replies
from ..bus.requests import TIMEOUT


class Rim(Protocol):
    """What asking needs of whoever asks."""

    def bridge(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return ``coroutine`` to be awaited on the loop; on a thread run it there and return its result."""

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run ``coroutine`` on the loop and return its result; not from the loop."""

    def outgoing(
        self, name: str, payload: Any, headers: Mapping[str, str] | None
    ) -> tuple[Any, Mapping[str, str] | None]:
        """What is really asked: a payload and its headers, when all has been done to them."""


class Requesting(ABC):
    """Whoever has a bus and can ask others over it."""

    @property
    @abstractmethod
    def bus(self) -> Bus:
        """The connection to everybody else."""

    @abstractmethod
    def _hm_rim(self) -> Rim:
        """How it asks."""

    def request(
        self, name: str, payload: Any = None, *, timeout: float = TIMEOUT, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Ask one of the responders called ``name``, and return its reply; on the loop it is awaited, else called.

        Raises NoResponders at once when there is none; RequestTimeout after ``timeout`` seconds; RemoteError when the
        responder raised, InvalidRequest when the payload does not fit it; RequestLost when it died and nobody else is
        there; PayloadError; and RedisError when Redis refuses us.
        """
        rim = self._hm_rim()
        payload, headers = rim.outgoing(name, payload, headers)
        return rim.bridge(self.bus.requests.request(name, payload, timeout, headers))

    def request_stream(
        self, name: str, payload: Any = None, *, timeout: float = TIMEOUT, headers: Mapping[str, str] | None = None
    ) -> RequestStream:
        """Ask one of the responders called ``name`` that have ``stream=True``, and iterate over its replies: with
        ``async for`` on the loop, with ``for`` on threads.

        ``timeout`` is seconds for each reply. Raises what ``request`` raises, while it is iterated. Who stops iterating
        before the end cancels the responder; ``with`` (or ``async with``) does so for certain.
        """
        payload, headers = self._hm_rim().outgoing(name, payload, headers)
        return RequestStream(self, (name, payload, timeout, headers))


class RequestStream:
    """The replies to one request: an iterator, blocking or asynchronous."""

    def __init__(
        self,
        requesting: Requesting,
        asked: tuple[str, Any, float, Mapping[str, str] | None],
        *,
        strict: bool = True,
    ) -> None:
        self._requesting = requesting
        name, payload, timeout, headers = asked
        mode = requesting.bus.requests.mode(strict=strict)
        self._asked = (requesting.bus.requests.checked(name, payload, timeout), mode, headers)
        self._name, self._timeout = name, timeout
        self._replies: Replies | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def next(self) -> Any:
        """The next reply. Raises StopAsyncIteration behind the last."""
        if self._replies is None:
            self._loop = asyncio.get_running_loop()
            self._replies = Replies(self._requesting.bus.requests, self._name, self._timeout, self._asked)
        return await self._replies.next()

    async def aclose(self) -> None:
        """Take no more: the responder is cancelled. May be called twice."""
        if self._replies is not None:
            self._replies.stop()

    def close(self) -> None:
        """The same on a thread."""
        if self._replies is not None:
            self._requesting._hm_rim().call(self.aclose())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self.next()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self._requesting._hm_rim().call(self.next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._replies is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._replies.stop)
