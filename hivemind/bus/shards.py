"""The shards of a Cluster, for a process whose live messages travel over all of them: kept up to date, and told of."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..backoff import Backoff
from ..bell import Bell
from ..cancelling import end
from ..errors import RedisError
from .cluster import MAP_QUESTIONS, Address, SlotMap, learn, read_answers, slot_of
from .commands import Commands
from .endpoint import Endpoint

log = logging.getLogger("hivemind.cluster")

CHECK = 10.0  #: seconds between two looks at the map that nobody asked for: a demoted primary goes on taking messages
STICKY = 5.0  #: seconds for which a node's word on a slot counts more than the map: news takes time to come round
REST, LONG_REST = 0.1, 1.0  #: seconds between two looks at the least; as long as they show nothing new up to the second


class Shards:
    """Who serves which topic, from ``start`` on; before that the hive's home carries everything.

    ``on_change`` are called, on the loop and in their order, whenever the map may have changed.
    """

    def __init__(self, endpoint: Endpoint, commands: Commands, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoint, self._commands, self._clock = endpoint, commands, clock
        self.map = SlotMap()
        self.is_used = False
        self.on_change: list[Callable[[], None]] = []
        self._suspects: set[Address] = set()
        self._said: dict[int, tuple[Address, float]] = {}  # by slot, who serves it and when a node said so
        self._rest = Backoff(REST, LONG_REST, floor=REST)
        self._bell = Bell()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let live messages travel over all shards. May be called twice."""
        if not self.is_used:
            self.is_used = True
            self._task = asyncio.create_task(self._run(), name="shards")

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
        self._bell.ring()

    def redirected(self, slot: int, address: Address) -> None:
        """A node has said who serves a slot that was thought to be its own."""
        self._said[slot] = (address, self._clock())
        if self.map.primary(slot) != address:
            self.map = self.map.corrected(slot, address)
            self._tell()

    def _tell(self) -> None:
        for changed in self.on_change:
            changed()

    async def _run(self) -> None:
        is_asked = True
        while True:
            if not is_asked:
                self._rest.reset()
            suspects, self._suspects = self._suspects, set()
            try:
                self.enter(await (self._learn(suspects) if is_asked else self._look()), suspects)
            except RedisError as error:
                log.debug("the map of the cluster is not to be had: %s", error)
                self._suspects |= suspects
                self._bell.ring()
            except Exception:
                log.exception("a fault of ours; the map of the cluster is asked for again")
            await asyncio.sleep(self._rest.next())
            is_asked = await self._bell.wait(CHECK) or not self.map.ranges

    async def _learn(self, suspects: set[Address]) -> SlotMap:
        return await learn({*self._endpoint.seeds, *self.map.nodes}, self._open, suspects)

    async def _look(self) -> SlotMap:
        """Ask the home, over a connection that is there: this costs next to nothing, however many we are."""
        slots, info = await self._commands.pipeline(MAP_QUESTIONS)
        if isinstance(slots, Exception) or isinstance(info, Exception):
            return await self._learn(set())
        found = read_answers(("", 0), slots, info, None)
        return found if all(host for host, _ in found.nodes) else await self._learn(set())

    async def _open(self, address: Address) -> Any:
        return await self._endpoint.at(address).open("hm:map")

    def enter(self, found: SlotMap, suspects: set[Address]) -> None:
        """Take a new map, but for what nodes have said lately that are neither ``suspects`` nor demoted."""
        if found.ranges != self.map.ranges:
            self._rest.reset()
        since, doubtful = self._clock() - STICKY, suspects | ({*found.nodes} - found.primaries)
        self._said = {s: said for s, said in self._said.items() if said[1] > since and said[0] not in doubtful}
        self.map = replace(found, corrections={slot: address for slot, (address, _) in self._said.items()})
        self._tell()
