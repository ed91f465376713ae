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
from .middleware import Outgoing, Replied


class Rim(Protocol):
    """What asking needs of whoever asks."""

    def bridge(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return ``coroutine`` to be awaited on the loop; on a thread run it there and return its result."""

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run ``coroutine`` on the loop and return its result; not from the loop."""

    def outgoing(self, name: str, payload: Any, headers: Mapping[str, str] | None) -> Outgoing:
        """What is really asked, payload and headers, when all has been done to them; and who is told of the end."""


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
        payload, headers, replied = rim.outgoing(name, payload, headers)
        asked = self.bus.requests.request(name, payload, timeout, headers)
        return rim.bridge(asked if replied is None else _told(asked, replied))

    def request_stream(
        self, name: str, payload: Any = None, *, timeout: float = TIMEOUT, headers: Mapping[str, str] | None = None
    ) -> RequestStream:
        """Ask one of the responders called ``name`` that have ``stream=True``, and iterate over its replies: with
        ``async for`` on the loop, with ``for`` on threads.

        ``timeout`` is seconds for each reply. Raises what ``request`` raises, while it is iterated. Who stops iterating
        before the end cancels the responder; ``with`` (or ``async with``) does so for certain.
        """
        payload, headers, replied = self._hm_rim().outgoing(name, payload, headers)
        return RequestStream(self, (name, payload, timeout, headers), replied=replied)


class RequestStream:
    """The replies to one request: an iterator, blocking or asynchronous."""

    def __init__(
        self,
        requesting: Requesting,
        asked: tuple[str, Any, float, Mapping[str, str] | None],
        *,
        strict: bool = True,
        replied: Replied | None = None,
    ) -> None:
        self._requesting, self._replied = requesting, replied
        self._replies: Replies | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        name, payload, timeout, headers = asked
        mode = requesting.bus.requests.mode(strict=strict)
        try:
            self._asked = (requesting.bus.requests.checked(name, payload, timeout), mode, headers)
        except Exception as error:
            self._over(error)
            raise
        self._name, self._timeout = name, timeout

    async def next(self) -> Any:
        """The next reply. Raises StopAsyncIteration behind the last."""
        if self._replies is None:
            self._loop = asyncio.get_running_loop()
            self._replies = Replies(self._requesting.bus.requests, self._name, self._timeout, self._asked)
        try:
            return await self._replies.next()
        except BaseException as error:
            self._over(None if isinstance(error, StopAsyncIteration) else error)
            raise

    async def aclose(self) -> None:
        """Take no more: the responder is cancelled. May be called twice."""
        if self._replies is not None:
            self._replies.stop()
        self._over(None)

    def close(self) -> None:
        """The same on a thread."""
        if self._replies is not None:
            self._requesting._hm_rim().call(self.aclose())

    def _over(self, error: BaseException | None) -> None:
        replied, self._replied = self._replied, None
        if replied is not None:
            replied(error)

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


async def _told(asked: Coroutine[Any, Any, Any], replied: Replied) -> Any:
    error: BaseException | None = None
    try:
        return await asked
    except BaseException as raised:
        error = raised
        raise
    finally:
        replied(error)
