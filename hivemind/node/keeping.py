"""What a node with durable topics does beside its handlers: announce, tend, read in groups. Components of the node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from ..bus.deliveries import Delivery, Retrying
from ..bus.streams import Streams
from ..cancelling import end
from ..data.group import Group
from ..data.kept import Kept
from ..errors import ConfigurationError, RedisError
from ..patterns import PatternTable
from .durable import DurableSubscription

if TYPE_CHECKING:
    from ..bus.bus import Bus
    from .base import BaseNode

TEND = 15.0  #: seconds, about, between two looks at a durable topic that a node sends
KEEP, MOST = 7 * 86_400.0, 1_000_000  #: seconds, and messages, that are kept though all have handled them
TRY_AGAIN = 0.5  #: seconds between two tries to begin while Redis is away
HANDLERS = 5.0  #: seconds that running handlers have when the node stops


def _check_place(bus: Bus) -> None:
    if bus.shards is not None:
        raise ConfigurationError("durable topics need one Redis, or Sentinel, so far: a Cluster carries live ones only")


async def _insist(node: BaseNode, what: str, begin: Callable[[], Awaitable[None]]) -> None:
    """Begin something, as soon as Redis lets us."""
    while True:
        try:
            return await begin()
        except RedisError as error:
            node.logger.warning("%s waits for Redis: %s", what, error)
            await asyncio.sleep(TRY_AGAIN)


class DurableSending:
    """The durable topics of a node's services: their groups are there before the first message, and before
    ``on_start``, which may send one.
    """

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics
        self._tending: asyncio.Task[None] | None = None

    async def start(self, node: BaseNode) -> None:
        """Announce the topics; wait for Redis as long as it takes. Raises ConfigurationError on a Cluster."""
        bus = node.bus
        _check_place(bus)
        streams = Streams(bus.commands, bus.functions, bus.names)
        kept = Kept(bus.commands, streams, bus.names)
        for topic in self._topics:
            await _insist(node, f"durable topic {topic}", partial(kept.announce, topic))
            bus.keep(topic)
        self._tending = asyncio.create_task(self._tend(node, kept, streams), name="tend durable topics")

    async def _tend(self, node: BaseNode, kept: Kept, streams: Streams) -> None:
        """Keep the topics known, whatever Redis loses, and their streams short."""
        while True:
            await asyncio.sleep(TEND * random.uniform(0.8, 1.2))
            try:
                for topic in self._topics:
                    await kept.announce(topic)
                    while await streams.trim(topic, KEEP, MOST):
                        pass
            except RedisError as error:
                node.logger.debug("durable topics: %s", error)
            except Exception:
                node.logger.exception("durable topics")

    async def stop(self) -> None:
        """Tend the topics no more. What was sent is flushed when the node says goodbye."""
        await end(self._tending)


class DurableReading:
    """The groups in which a node reads. A component: it begins after ``on_start`` and ends before ``on_shutdown``."""

    def __init__(self, subscriptions: list[DurableSubscription]) -> None:
        self._subscriptions = subscriptions
        self._groups: list[Group] = []

    async def start(self, node: BaseNode) -> None:
        """Begin to read; wait for Redis as long as it takes.

        Raises ConfigurationError on a Cluster, and where another node of this process reads in the same group.
        """
        _check_place(node.bus)
        names = list(dict.fromkeys(one.group for one in self._subscriptions))
        if taken := node.bus.groups.intersection(names):
            raise ConfigurationError(
                f"{node.name}: another node of this process reads in group {min(taken)!r}: give one of them a process, "
                "or another group="
            )
        node.bus.groups.update(names)
        for one in self._subscriptions:
            one.start()
        for name in names:
            group = self._group(node, name, [one for one in self._subscriptions if one.group == name])
            await _insist(node, f"group {name}", group.start)
            self._groups.append(group)

    def _group(self, node: BaseNode, name: str, members: list[DurableSubscription]) -> Group:
        table: PatternTable[DurableSubscription] = PatternTable()
        for one in members:
            table.add(one.name, one)

        def retrying(topic: str) -> Retrying:
            return table.of(topic)[0].retrying

        def hand(delivery: Delivery) -> None:
            table.of(delivery.topic)[0].hand(delivery)

        wanted = {one.name: one.declaration.since for one in members}
        return Group(node.bus, name, wanted, retrying, hand, node.settings.constants.LEASE)

    async def stop(self, node: BaseNode) -> None:
        """Let handlers end, tell Redis what was handled, and leave the rest to others."""
        for group in self._groups:
            await group.stop_reading()
        hangs = await asyncio.gather(*(one.stopped(HANDLERS) for one in self._subscriptions))
        for one, where in zip(self._subscriptions, hangs, strict=True):
            if where:
                hung = "%s did not finish; its message is tried again. It is in\n%s"
                node.logger.error(hung, one.handler.name, where)
        for group in self._groups:
            await group.aclose()
