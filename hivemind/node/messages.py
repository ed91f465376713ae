"""What a client receives."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..bus.receiving import LiveSubscription
from ..message import Message

if TYPE_CHECKING:
    from .client import Client


class Messages:
    """A client's subscription: an iterator, blocking or asynchronous, of messages."""

    def __init__(self, client: Client, live: LiveSubscription) -> None:
        self.client, self.live = client, live

    async def open(self) -> None:
        """Subscribe; returns when Redis has confirmed. Raises RedisDenied."""
        await self.client.listen(self.live)

    async def next(self, timeout: float | None = None) -> Message | None:
        """The next message; None after ``timeout`` seconds, or when the subscription is closed."""
        try:
            async with asyncio.timeout(timeout):
                if not await self.live.inbox.wait():
                    return None
        except TimeoutError:
            return None
        entry = self.live.inbox.take()
        assert entry is not None
        return Message(entry[0], entry[2], entry[1])

    def receive(self, timeout: float | None = None) -> Message | None:
        """The same for blocking clients."""
        message: Message | None = self.client.call(self.next(timeout))
        return message

    async def aclose(self) -> None:
        """Unsubscribe. May be called twice."""
        self.client.bus.live.remove(self.live)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = await self.next()
        if message is None:
            raise StopAsyncIteration
        return message

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        message = self.receive()
        if message is None:
            raise StopIteration
        return message

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        self.client.call(self.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.call(self.aclose())
