"""The logs of the hive's other hosts, for `hm logs`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..errors import RedisError
from ..settings import Settings
from ..supervisor.engine import redis_url
from ..supervisor.far_logs import FarLogs
from . import output
from .reading import away, quiet


@asynccontextmanager
async def far_logs(settings: Settings, hosts: Collection[str], nodes: Sequence[str]) -> AsyncIterator[FarLogs | None]:
    """The logs of ``nodes`` on ``hosts``; None, and said, where Redis does not answer. What cannot be had is told."""
    quiet()

    def say(text: str, is_wrong: bool) -> None:
        (output.warn if is_wrong else output.note)(text)

    async with Bus(Endpoint.parse(redis_url(settings), settings.var), settings.name, "hm") as bus:
        far = FarLogs(bus, hosts, nodes, say)
        try:
            await far.open()
        except RedisError:
            output.warn(f"the logs of {', '.join(sorted(hosts))} are not among these: {away(settings, 'no answer')}")
            yield None
            return
        try:
            yield far
        finally:
            await far.close()
