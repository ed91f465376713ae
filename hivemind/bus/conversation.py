"""One connection over which one command at a time is asked, for those who ask again and again for much at once.

redis-py opens it; then hiredis parses what comes straight from the transport, without a stream reader in between.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self, cast

import hiredis

from ..errors import RedisUnavailable
from .commands import Argument
from .endpoint import Endpoint
from .link import pack
from .translation import reply_error, translated


class Conversation(asyncio.Protocol):
    """Open it with ``open``. It is not made again when it is lost: then close it, and open another."""

    def __init__(self, where: str, connection: Any) -> None:
        self._where = where
        self._connection = connection  # kept: dropping it closes the transport
        self._transport = cast(asyncio.Transport, connection._writer.transport)
        self._parser = hiredis.Reader()
        self._reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._patience = 0.0
        self._limit: asyncio.Timeout | None = None  # of who waits for a reply
        self.size = 0  # bytes of the last reply
        self._transport.set_protocol(self)

    @classmethod
    async def open(cls, endpoint: Endpoint, name: str) -> Self:
        """Connect. Raises RedisUnavailable and RedisDenied."""
        return cls(endpoint.redacted, await endpoint.open(name))

    async def ask(self, *command: Argument, timeout: float) -> Any:
        """Send a command and return its reply, as hiredis reads it.

        Raises RedisRefused and RedisDenied for what Redis says, RedisUnavailable when nothing of an answer comes for
        ``timeout`` seconds, or none will come any more: then, and when this was cancelled, it cannot go on. An answer
        may take as long as it needs while more of it comes.
        """
        if self._transport.is_closing():
            raise RedisUnavailable(f"{self._where}: the connection is closed")
        self._reply = asyncio.get_running_loop().create_future()
        self._patience, self.size = timeout, 0
        self._transport.write(pack(*command))
        try:
            async with asyncio.timeout(timeout) as self._limit:
                reply = await self._reply
        except TimeoutError as error:
            raise translated(error, self._where) from None
        finally:
            self._limit = None
        if isinstance(reply, hiredis.ReplyError):
            raise reply_error(reply)
        return reply

    async def aclose(self) -> None:
        """Close it. May be called twice."""
        self._transport.abort()
        await self._connection.disconnect(nowait=True)

    # -- called by the transport

    def data_received(self, data: bytes) -> None:
        """A part of a reply, or all of it."""
        self.size += len(data)
        self._parser.feed(data)
        try:
            reply = self._parser.gets()
        except hiredis.HiredisError as error:
            self._end(f"cannot read what Redis sends: {error}")
            self._transport.abort()
            return
        if reply is not False and not self._reply.done():
            self._reply.set_result(reply)
        elif self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._patience)

    def connection_lost(self, exc: Exception | None) -> None:
        """No reply will come any more."""
        self._end(str(exc) if exc else "Redis closed the connection")

    def _end(self, reason: str) -> None:
        if not self._reply.done():
            self._reply.set_exception(RedisUnavailable(f"{self._where}: {reason}"))
            self._reply.exception()  # nobody may have asked
