"""Whether a Redis that hung up has no connections left.

It says so once, before it reads anything, and then hangs up: who was writing at that moment may never see the words.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Any

from redis import exceptions
from redis.asyncio import connection as connections

PATIENCE = 0.25  #: seconds that it has to say so
WORDS = "max number of clients"
_OTHERS = (exceptions.AuthenticationError, exceptions.BusyLoadingError)  # redis-py takes them for lost connections
_CROWDED = os.strerror(errno.EAGAIN)


def is_crowded(error: BaseException) -> bool:
    """Whether so many wait at a unix socket to be let in that the system takes no more; over TCP they would wait."""
    return _CROWDED in str(error)


def hung_up(error: BaseException) -> bool:
    """Whether a connection that was made broke off while it was greeted."""
    is_lost = isinstance(error, exceptions.ConnectionError) and not isinstance(error, _OTHERS)
    return is_lost and " connecting to " not in str(error) and WORDS not in str(error)


async def is_full(connection: Any) -> bool:
    """Whether who connects where redis-py's ``connection`` led to, and says nothing, is told that there is no room."""
    try:
        async with asyncio.timeout(PATIENCE):
            if isinstance(connection, connections.UnixDomainSocketConnection):
                reader, writer = await asyncio.open_unix_connection(connection.path)
            else:
                reader, writer = await asyncio.open_connection(connection.host, int(connection.port))
            try:
                return WORDS in (await reader.readline()).decode(errors="replace")
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, ValueError, AttributeError):
        return False
