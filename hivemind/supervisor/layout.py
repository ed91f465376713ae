"""Before a hive is started: whether what it has in Redis has the layout that this version reads and writes."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress

from ..bus.commands import Commands
from ..bus.endpoint import Endpoint
from ..data.backup import backup
from ..data.layout import LAYOUT, STEPS, Step, migrate
from ..errors import RedisError
from .engine import Engine, redis_url

log = logging.getLogger("hived")

PATIENCE = 3.0  # seconds for Redis to answer; if it does not, nodes look themselves when it does


def bring_up_to_date(engine: Engine, here: int = LAYOUT, steps: Mapping[int, Step] = STEPS) -> None:
    """Bring an older layout to ours, after a backup to ``var``; nothing where Redis does not answer, or has nothing of
    this hive.

    Raises LayoutMismatch where a newer version wrote it, and ConfigurationError while somebody lives who reads and
    writes an older one; HivemindError and OSError where no backup can be made, and then nothing was touched.
    """
    with suppress(RedisError):
        asyncio.run(_bring(engine, here, steps))


async def _bring(engine: Engine, here: int, steps: Mapping[int, Step]) -> None:
    endpoint = Endpoint.parse(redis_url(engine.settings), engine.paths.var).of(engine.settings.name)
    names = endpoint.names

    async def save() -> None:
        path = engine.paths.var / f"before-layout-{here}-{time.strftime('%Y%m%d-%H%M%S')}.backup"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            await backup(commands, names, out, lambda _: None)
        log.warning("what %s has in Redis was copied to %s", names.hive, path)

    async with Commands(endpoint) as commands:
        if await commands.ping(PATIENCE):
            await migrate(commands, names, save, here, steps)
