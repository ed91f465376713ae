"""The shards of a Cluster, for a process whose live messages travel over all of them: kept up to date, and told of."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..backoff import Backoff
from ..cancelling import end
from ..errors import RedisError
from .cluster import QUESTIONS, Address, SlotMap, learn, read_answers, slot_of
from .commands import Commands
from .endpoint import Endpoint

log = logging.getLogger("hivemind.cluster")

CHECK = 10.0  #: seconds between two looks at the map that nobody asked for: a demoted primary goes on taking messages
STICKY = 5.0  #: seconds for which a node's word on a slot counts more than the map: news takes time to come round
REST, LONG_REST = 0.1, 1.0  #: seconds between two looks at the least; as long as they show nothing new up to the second


class Shards:
    """Who serves which topic, from ``start`` on; before that the hive's home carries everything.

    ``on_start`` are called once, when messages begin to travel over all shards; ``on_change`` whenever the map may have
    changed. All on the loop.
    """

    def __init__(self, endpoint: Endpoint, commands: Commands) -> None:
        self.endpoint = endpoint
        self._commands = commands
        self.map = SlotMap()
        self.is_used = False
        self.on_start: list[Callable[[], None]] = []
        self.on_change: list[Callable[[], None]] = []
        self._suspects: set[Address] = set()
        self._said: dict[int, tuple[Address, float]] = {}  # by slot, who serves it and when a node said so
        self._rest = Backoff(REST, LONG_REST, floor=REST)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let live messages travel over all shards. May be called twice."""
        if not self.is_used:
            self.is_used = True
            self._task = asyncio.create_task(self._run(), name="shards")
            for started in self.on_start:
                started()

    async def aclose(self) -> None:
        """Look no more. May be called twice."""
        await end(self._task)

    def primary(self, topic: str) -> Address | None:
        """Who serves ``topic``; None as long as nobody is known to."""
        return self.map.primary(slot_of(topic))

    def refresh(self, suspect: Address | None = None) -> None:
        """Look at the map soon, because something is wrong with one node. It may be the one that knows why."""
        if suspect is not None:
            self._suspects.add(suspect)
        self._wake.set()

    def moved(self, slot: int, address: Address) -> None:
        """A node has said who serves a slot that was thought to be its own."""
        self._said[slot] = (address, time.monotonic())
        if self.map.primary(slot) != address:
            self.map = self.map.with_moved(slot, address)
            self._tell()

    def _tell(self) -> None:
        for changed in self.on_change:
            changed()

    async def _run(self) -> None:
        while True:
            is_asked = self._wake.is_set() or not self.map.ranges
            self._wake.clear()
            if not is_asked:
                self._rest.reset()
            suspects, self._suspects = self._suspects, set()
            try:
                self._take(await (self._learn(suspects) if is_asked else self._look()), suspects)
            except RedisError as error:
                log.debug("the map of the cluster is not to be had: %s", error)
                self._suspects |= suspects
                self._wake.set()
            except Exception:
                log.exception("a fault of ours; the map of the cluster is asked for again")
            await asyncio.sleep(self._rest.next())
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK):
                    await self._wake.wait()

    async def _learn(self, suspects: set[Address]) -> SlotMap:
        return await learn({*self.endpoint.seeds, *self.map.nodes}, self._open, suspects)

    async def _look(self) -> SlotMap:
        """Ask the home, over a connection that is there: this costs next to nothing, however many we are."""
        slots, info = await self._commands.pipeline(QUESTIONS[:2])
        if isinstance(slots, Exception) or isinstance(info, Exception):
            return await self._learn(set())
        found = read_answers(("", 0), slots, info, None)
        return found if all(host for host, _ in found.nodes) else await self._learn(set())

    async def _open(self, address: Address) -> Any:
        return await self.endpoint.at(address).open("hm:map")

    def _take(self, found: SlotMap, suspects: set[Address]) -> None:
        if found.ranges != self.map.ranges:
            self._rest.reset()
        since, doubtful = time.monotonic() - STICKY, suspects | ({*found.nodes} - found.primaries)
        self._said = {s: said for s, said in self._said.items() if said[1] > since and said[0] not in doubtful}
        self.map = replace(found, moved={slot: address for slot, (address, _) in self._said.items()})
        self._tell()
