"""One short look at a hive's registry, for who cannot wait: it loads little, and starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..bus.embedded import Embedded

if TYPE_CHECKING:
    from ..bus.endpoint import Endpoint
    from ..data.records import Instance
    from ..settings import Settings


@dataclass(frozen=True, slots=True)
class Seen:
    """What the registry knows: instances, and topics that were announced."""

    instances: Sequence[Instance] = ()
    announced: Sequence[str] = ()


def glance(settings: Settings, patience: float) -> Seen:
    """What the registry knows; nothing where Redis is away, or takes longer than ``patience`` seconds."""
    own = Embedded.of(settings)
    if not settings.redis_url and not own.socket.exists():
        return Seen()
    import asyncio
    import logging

    from ..bus.endpoint import Endpoint
    from ..errors import RedisError

    logging.getLogger("hivemind").addHandler(logging.NullHandler())
    endpoint = Endpoint.parse(settings.redis_url or own.url, settings.var).of(settings.name)
    try:
        return asyncio.run(_seen(endpoint, patience))
    except (RedisError, TimeoutError):
        return Seen()


async def _seen(endpoint: Endpoint, patience: float) -> Seen:
    import asyncio

    from ..bus.commands import Commands
    from ..bus.functions import Functions
    from ..data.directory import Directory
    from ..data.layout import check_layout
    from ..data.registry import Registry

    names = endpoint.names
    async with asyncio.timeout(patience), Commands(endpoint, "hm") as commands:
        await check_layout(commands, names)
        functions = Functions(commands)
        instances = await Registry(commands, functions, names).instances()
        return Seen(instances, sorted(await Directory(commands, functions, names).topics()))
