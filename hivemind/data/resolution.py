"""Resolved patterns for one registered instance: it announces what it sends, and resolves what it receives."""

from __future__ import annotations

from collections.abc import Iterable

from ..bus.bus import Bus
from .announcer import Announcer
from .directory import Directory
from .resolver import Resolver


class Resolution:
    """Both halves, from ``start`` to ``stop``."""

    def __init__(self, bus: Bus) -> None:
        directory = Directory(bus.commands, bus.functions, bus.names)
        self._announcer, self._resolver = Announcer(bus, directory), Resolver(bus, directory, self._say)
        self._bus, self._directory = bus, directory

    def start(self, topics: Iterable[str]) -> None:
        """Begin, once the instance is registered. ``topics`` are announced before anything is sent on them."""
        self._bus.resolver = self._resolver
        self._resolver.start()
        self._announcer.start(topics)
        self._bus.live.on_up = self._connected

    async def _say(self, version: int, patterns: list[str] | None = None) -> bool:
        return await self._directory.report(self._bus.instance, self._bus.incarnation, version, patterns)

    def _connected(self) -> None:
        self._resolver.look()
        self._announcer.look()

    def again(self) -> None:
        """Redis has lost its data, and the instance is registered anew."""
        self._resolver.again()
        self._announcer.again()

    async def stop(self) -> None:
        """End. What is still held is let go. May be called twice."""
        self._bus.live.on_up = None
        await self._announcer.stop()
        await self._resolver.stop()
