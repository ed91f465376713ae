"""Tells the groups of durable topics at once which process has ended, so that nobody waits for its lease.

The kernel says when a process ends, and supervisord says it a moment later. That a life has ended is told only when its
very process, by pid and start time, is gone from this machine: of others, and of who is frozen, nobody here can know.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from ..bus.bus import Bus
from ..data.heirs import say_that_it_ended
from ..data.records import Instance
from ..data.registry import NOTICES, Registry
from ..errors import RedisError
from .keeper import exit_event

log = logging.getLogger("hived")

MOST = 400  # processes that are watched: each takes a file descriptor
RETRY = 0.25  # seconds until Redis is asked again to take the news


@dataclass(frozen=True, slots=True)
class _Watched:
    """One life that runs on this machine, and what becomes readable when its process ends (None: nothing does)."""

    life: Instance
    event: int | None


class Deaths:
    """Watches all processes of this machine that the registry names, whoever started them."""

    def __init__(self, bus: Bus, registry: Registry) -> None:
        self._bus, self._registry = bus, registry
        self._watched: dict[str, _Watched] = {}
        self._ended: dict[str, int] = {}  # the last life of each instance that has ended: the registry still has it
        self._tasks: set[asyncio.Task[None]] = set()
        bus.live.listen(bus.names.control(NOTICES), self._heard)

    def watch(self, instances: Iterable[Instance]) -> None:
        """Watch those of ``instances`` that live here. On the loop."""
        for one in instances:
            known = self._watched.get(one.instance)
            process = one.about.process
            if one.is_lost or process is None or not process.is_local():
                continue
            if known is not None and known.life.incarnation >= one.incarnation:
                continue
            if self._ended.get(one.instance, -1) >= one.incarnation:
                continue
            self._forget(one.instance)
            event = exit_event(process.pid) if len(self._watched) < MOST else None
            self._watched[one.instance] = _Watched(one, event)
            if event is not None:
                asyncio.get_running_loop().add_reader(event, self.look, one.instance)
            self.look(one.instance)  # it may have ended meanwhile, and its pid may be another's

    @property
    def watched(self) -> frozenset[str]:
        """The instances whose end would be seen."""
        return frozenset(self._watched)

    def look(self, name: str) -> None:
        """Something happened to the process of that instance: if it has ended, tell it. On the loop.

        Who joined while nobody listened here is looked up in the registry first.
        """
        watched = self._watched.get(name)
        if watched is None:
            self._begin(self._read(name))
            return
        if watched.life.about.process is None or not watched.life.about.process.has_ended():
            return
        self._forget(name)
        self._ended[name] = watched.life.incarnation
        self._begin(self._tell(watched.life))

    def close(self) -> None:
        """Watch nobody any more. May be called twice."""
        self._bus.live.unlisten(self._bus.names.control(NOTICES), self._heard)
        for name in list(self._watched):
            self._forget(name)
        for task in self._tasks:
            task.cancel()

    def _forget(self, name: str) -> None:
        watched = self._watched.pop(name, None)
        if watched is not None and watched.event is not None:
            asyncio.get_running_loop().remove_reader(watched.event)
            os.close(watched.event)

    async def _tell(self, life: Instance) -> None:
        """Insist, as long as nobody else can have noticed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + life.about.lease
        while loop.time() < deadline:
            try:
                if await say_that_it_ended(self._bus.commands, self._bus.names, life.instance, life.incarnation):
                    log.info("%s has ended without a goodbye: others take over what it held", life.instance)
                return
            except RedisError:
                await asyncio.sleep(RETRY)

    def _heard(self, body: bytes) -> None:
        """Somebody joined, or left."""
        try:
            name = str(orjson.loads(body)["instance"])
        except (ValueError, TypeError, KeyError):
            return
        self._begin(self._read(name))

    async def _read(self, name: str) -> None:
        try:
            found = await self._registry.instance(name)
        except RedisError:
            return  # the next look at the whole registry finds it
        if found is not None:
            self.watch([found])

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
