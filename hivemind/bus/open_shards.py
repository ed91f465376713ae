"""The shards of a Cluster that a process has a connection to: opened when they are needed, closed when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from .cluster import Address
from .shards import Shards


class Shard(Protocol):
    """A connection to one shard, and what belongs to it."""

    address: Address

    @property
    def is_idle(self) -> bool:
        """Whether nobody needs it."""

    def start(self) -> None:
        """Begin to connect."""

    async def aclose(self) -> None:
        """Close the connection."""


S = TypeVar("S", bound=Shard)


class OpenShards(Generic[S]):
    """At most one for each address; ``make(address)`` makes it."""

    def __init__(self, shards: Shards, make: Callable[[Address], S]) -> None:
        self._shards, self._make = shards, make
        self._open: dict[Address, S] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[S]:
        return iter(tuple(self._open.values()))

    def at(self, address: Address) -> S:
        """The one at ``address``, opened if it is not."""
        if address not in self._open:
            made = self._open[address] = self._make(address)
            made.start()
        return self._open[address]

    def serving(self, topic: str) -> S | None:
        """The one that has the slot of ``topic``, as far as the map knows."""
        address = self._shards.primary(topic)
        return None if address is None else self.at(address)

    def lost(self, shard: S) -> None:
        """The connection to a shard is gone, or cannot be made: have the map looked at, unless nobody needs it."""
        if shard.address in self._open:
            self._shards.refresh(shard.address)

    def tidy(self) -> list[S]:
        """Close those that nobody needs and that serve nothing; return them."""
        serving = self._shards.map.primaries
        closed = [self._open.pop(one.address) for one in self if one.is_idle and one.address not in serving]
        for one in closed:
            closing = asyncio.create_task(one.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return closed

    async def aclose(self) -> None:
        """Close all."""
        for one in self:
            await one.aclose()
        await asyncio.gather(*self._closing)
