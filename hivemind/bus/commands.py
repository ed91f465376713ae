"""Ordinary commands: one small pool of redis-py connections, no retries, a time limit on each, our errors."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from redis import exceptions
from redis.asyncio import connection as connections

from ..errors import RedisError
from .endpoint import Endpoint
from .link import pack
from .translation import translated

Argument = str | bytes | int | float
MOST = 4  #: connections at once
TIMEOUT = 5.0  #: seconds until a command without an answer raises RedisUnavailable


class Commands:
    """Sends commands and returns replies as redis-py reads them (bytes stay bytes).

    Connections are opened when needed, kept, and thrown away after any error. Nothing is ever sent twice: an
    error after sending means that the outcome is not known. Close it with ``aclose()`` or ``async with``.
    """

    def __init__(self, endpoint: Endpoint, name: str = "hm", *, timeout: float = TIMEOUT) -> None:
        self.endpoint, self.timeout = endpoint, timeout
        self._name = name
        self._idle: list[connections.AbstractConnection] = []
        self._room = asyncio.Semaphore(MOST)
        self._life = 0
        self.epoch: Callable[[], int] = lambda: 0  # a number that changes when idle connections may be dead
        self._seen_epoch = 0

    async def execute(self, *command: Argument) -> Any:
        """Run one command. Raises RedisUnavailable, RedisDenied or RedisRefused."""
        (reply,) = await self.pipeline([command])
        return checked(reply)

    async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run many commands in one round trip; an error reply stands in its place as a RedisError.

        Raises RedisUnavailable or RedisDenied when the connection fails: then no outcome is known.
        """
        if not commands:
            return []
        async with self._room:
            return await self._round_trip(commands)

    async def ping(self, timeout: float = 1.0) -> bool:
        """Whether Redis answers at all within ``timeout`` seconds; an error reply counts as an answer."""
        try:
            async with asyncio.timeout(timeout):
                await self.pipeline([("PING",)])
        except (RedisError, TimeoutError):
            return False
        return True

    async def _round_trip(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        connection, life = await self._connected(), self._life
        try:
            async with asyncio.timeout(self.timeout):
                packed = b"".join([pack(*command) for command in commands])
                await connection.send_packed_command(packed, check_health=False)
                replies = [await self._reply(connection) for _ in commands]
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, Exception):
                raise translated(error, self.endpoint.redacted) from error
            raise
        if life == self._life:
            self._idle.append(connection)
        else:
            await connection.disconnect(nowait=True)
        return replies

    async def _connected(self) -> connections.AbstractConnection:
        """An idle connection that Redis has not closed meanwhile, else a new one."""
        if (epoch := self.epoch()) != self._seen_epoch:
            self._seen_epoch = epoch
            await self._drop_idle()
        while self._idle:
            connection = self._idle.pop()
            if await self._is_usable(connection):
                return connection
        return await self.endpoint.open(self._name)

    async def _is_usable(self, connection: connections.AbstractConnection) -> bool:
        """Whether Redis has not closed an idle connection; if it has, or we are cancelled, it is closed here, too."""
        is_open = False
        try:
            await asyncio.sleep(0)  # twice: a loop that was blocked has yet to notice that Redis closed it
            await asyncio.sleep(0)
            is_open = not await connection.can_read()  # nothing can be there to read, but the end
        except (OSError, exceptions.RedisError):
            return False
        finally:
            if not is_open:
                await connection.disconnect(nowait=True)
        return is_open

    async def _reply(self, connection: connections.AbstractConnection) -> Any:
        try:
            return await connection.read_response(timeout=math.inf)  # the round trip has its own limit
        except Exception as error:
            ours = translated(error, self.endpoint.redacted)
            is_answer = connection.is_connected and not isinstance(error, OSError | TimeoutError)
            if is_answer and not isinstance(error, exceptions.AskError | exceptions.ClusterDownError):
                return ours  # those two ask for another connection: this is no longer the right one
            raise

    async def aclose(self) -> None:
        """Close all connections, those in use as soon as they are not; the next command would open one anew."""
        self._life += 1
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def pairs_in(reply: Any) -> dict[bytes, Any]:
    """A hash, or what else Redis says as names and values, whichever protocol it came by."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def checked(reply: Any) -> Any:
    """One reply of a pipeline. Raises what stands in its place."""
    if isinstance(reply, RedisError):
        raise reply
    return reply
