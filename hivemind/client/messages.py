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
    """A client's subscription: an iterator, blocking or asynchronous, of messages.

    Without ``with`` (or ``async with``) it subscribes when it is first asked for a message: what was sent before that
    is not in it.
    """

    def __init__(self, client: Client, live: LiveSubscription) -> None:
        self.client, self.live = client, live
        self._is_begun = False

    async def open(self) -> None:
        """Subscribe; returns when Redis has confirmed. May be called twice. Raises RedisDenied, RedisUnavailable."""
        if self._is_begun:
            return
        self._is_begun = True
        try:
            await self.client.listen(self.live)
        except BaseException:
            self._is_begun = False
            raise

    async def next(self, timeout: float | None = None) -> Message | None:
        """The next message; None after ``timeout`` seconds, or when the subscription is closed. Only on the loop."""
        await self.open()
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
        """The next message, awaited under ``async with``; None after ``timeout`` seconds, or when the subscription is
        closed.
        """
        self.client.make_ready()
        return self.client.bridge(self.next(timeout))

    async def aclose(self) -> None:
        """Unsubscribe. May be called twice."""
        self._is_begun = True  # and nobody begins it again
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
        self.client.refuse_to_block("async for")
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
        self.client.refuse_to_block("async with")
        self.client.call(self.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.call(self.aclose())
