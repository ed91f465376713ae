"""A client for one command: open until the command has ended, or is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..bus.endpoint import Endpoint
from ..client.client import Client
from ..client.session import Where
from ..errors import RedisUnavailable
from ..settings import Settings
from ..supervisor.engine import redis_url
from . import output
from .reading import PATIENCE, away
from .streams import stop_on_signals


class Told(logging.Handler):
    """What a client warns of is said as the command says things."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        output.warn(record.getMessage())


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Client, asyncio.Event]]:
    """A client of the hive, and what Ctrl-C and SIGTERM set. Raises RedisUnavailable with a word of what to do."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    log, told = logging.getLogger("hivemind.client"), Told(logging.WARNING)
    log.addHandler(told)
    client = Client(lambda: Where(Endpoint.parse(redis_url(settings), settings.var), settings.name), PATIENCE)
    try:
        try:
            await client.open()
        except RedisUnavailable:
            raise away(settings, f"no answer within {PATIENCE:g} s") from None
        yield client, stop
    finally:
        await client.aclose()
        log.removeHandler(told)
