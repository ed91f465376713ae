"""The directory of topics for who is in no registry: clients and tools, while a hive resolves its patterns.

They announce what they send. Their patterns are Redis's, where it has them: the shards of a Cluster have none, so there
they are resolved, too. Nobody waits for an onlooker: of a topic that is new it may miss the first messages.
"""

from __future__ import annotations

import asyncio

from ..bus.bus import Bus
from ..bus.receiving import LiveSubscription
from ..errors import RedisUnavailable
from ..topics import is_pattern
from .announcer import Announcer
from .directory import Directory
from .resolver import RETRY, Resolver


class Onlooker:
    """Both halves, from ``start`` to ``stop``, for one process. It waits until the hive is found to need them."""

    def __init__(self, bus: Bus) -> None:
        directory = Directory(bus.commands, bus.functions, bus.names)
        self._bus, self._announcer = bus, Announcer(bus, directory)
        self._resolver = Resolver(bus, directory, _to_nobody)
        self._resolving: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin, once the bus is up."""
        self._bus.live.on_up = self._connected
        await self._announcer.start_if_resolved(self._resolve)

    async def stop(self) -> None:
        """End. May be called twice."""
        self._bus.live.on_up = None
        for task in self._resolving:
            task.cancel()
        await asyncio.gather(*self._resolving, return_exceptions=True)
        await self._announcer.stop()
        await self._resolver.stop()

    def _resolve(self) -> None:
        """In a Cluster, messages travel over all shards from now on: resolve patterns, those that Redis has had so far,
        too.
        """
        if self._bus.shards is None:
            return
        self._bus.resolver = self._resolver
        self._resolver.start()
        for subscription in self._bus.live.subscriptions:
            if is_pattern(subscription.pattern):
                self._resolving.append(asyncio.create_task(self._subscribe(subscription)))

    async def _subscribe(self, subscription: LiveSubscription) -> None:
        while True:
            try:
                return await self._bus.subscribe(subscription)
            except RedisUnavailable:
                await asyncio.sleep(RETRY)

    def _connected(self) -> None:
        self._resolver.look()
        self._announcer.look()


async def _to_nobody(version: int, patterns: list[str] | None = None) -> bool:  # noqa: ARG001 - a Say
    return True
