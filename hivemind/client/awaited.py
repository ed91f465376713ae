"""What ``async with connect()`` gives, for type checkers: the same client, whose methods are awaited.

There is one client, one subscription and one stream of replies, and they know where they are used. A type checker does
not, so these protocols say it: that is why it finds an ``await`` that was forgotten.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

from ..bus.bus import Bus
from ..bus.inbox import InboxLimits
from ..bus.requests import TIMEOUT
from ..message import Message


class AsyncClient(Protocol):
    """A client on the event loop: see ``Client``, which has the same methods."""

    @property
    def bus(self) -> Bus:
        """The connection."""

    def send(
        self, topic: str, payload: Any, *, durable: bool = False, headers: Mapping[str, str] | None = None
    ) -> None:
        """Hand a message over. Raises OutboxFull when there is no room: await ``drain()``."""

    def drain(self) -> Coroutine[Any, Any, None]:
        """Wait until there is room for more."""

    def flush(self, timeout: float = 10.0) -> Coroutine[Any, Any, None]:
        """Return when Redis has confirmed what was sent. Raises Refused, and Unconfirmed after ``timeout`` seconds."""

    def carrying(self, headers: Mapping[str, str] | None = None, /, **more: str) -> AbstractContextManager[None]:
        """Let all that is sent, or asked, inside carry these headers, too."""

    def request(
        self, name: str, payload: Any = None, *, timeout: float = TIMEOUT, headers: Mapping[str, str] | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Ask one of the responders called ``name``, and return its reply, or raise RequestTimeout after ``timeout``
        seconds, and what else ``Client.request`` raises.
        """

    def request_stream(
        self, name: str, payload: Any = None, *, timeout: float = TIMEOUT, headers: Mapping[str, str] | None = None
    ) -> AsyncReplies:
        """Ask one of the responders called ``name`` that have ``stream=True``, and iterate over its replies; each may
        take ``timeout`` seconds. Raises what ``request`` raises, while it is iterated.
        """

    def subscribe(
        self, pattern: str, *, raw: bool = False, since: str | int = "new", limits: InboxLimits | None = None
    ) -> AsyncMessages:
        """What is sent from now on and matches ``pattern``."""


class AsyncMessages(Protocol):
    """A client's subscription on the event loop: see ``Messages``."""

    def receive(self, timeout: float | None = None) -> Coroutine[Any, Any, Message | None]:
        """The next message; None after ``timeout`` seconds, or when the subscription is closed."""

    async def aclose(self) -> None:
        """Unsubscribe. May be called twice."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Message: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class AsyncReplies(Protocol):
    """The replies to one request, on the event loop: see ``RequestStream``."""

    async def aclose(self) -> None:
        """Take no more: the responder is cancelled. May be called twice."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Any: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
