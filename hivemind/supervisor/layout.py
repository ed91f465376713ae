"""Before a hive is started: whether what it has in Redis has the layout that this version reads and writes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..bus.commands import Commands
from ..bus.endpoint import Endpoint
from ..data.layout import migrate
from ..errors import RedisError
from ..topics import Names
from .engine import Engine, redis_url

PATIENCE = 3.0  # seconds for Redis to answer; if it does not, nodes look themselves when it does


def bring_up_to_date(engine: Engine) -> None:
    """Bring an older layout to ours; nothing where Redis does not answer, or has nothing of this hive.

    Raises LayoutMismatch where a newer version wrote it, or an older one of which no backup can be made, and
    ConfigurationError while somebody lives who reads and writes an older one.
    """
    with suppress(RedisError, TimeoutError):
        asyncio.run(_bring(engine))


async def _bring(engine: Engine) -> None:
    names = Names(engine.settings.name)
    endpoint = Endpoint.parse(redis_url(engine.settings)).of(names.hive)
    async with asyncio.timeout(PATIENCE), Commands(endpoint) as commands:
        await migrate(commands, names, None)
