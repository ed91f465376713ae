"""What a node with durable topics does beside its handlers: announce, tend, read in groups. Components of the node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from ..bus.assurance import shortfall
from ..bus.delivery import Delivery
from ..bus.trials import Rules
from ..cancelling import end
from ..data.entries import KeptTopic
from ..data.group import Group
from ..data.tending import Tending
from ..errors import ConfigurationError, RedisError
from ..retention import Tier, check_tier
from ..topics import matches
from .agreement import Objecting
from .declarations import ServiceDeclaration
from .durable import DurableSubscription

if TYPE_CHECKING:
    from .base import BaseNode

TRY_AGAIN = 0.5  #: seconds between two tries to begin while Redis is away
_LACKING = {
    Tier.SECOND: (logging.WARNING, 'confirm="%s": %s, so that what it has taken is lost when it ends'),
    Tier.DISK: (logging.ERROR, 'confirm="%s" cannot be kept, and flush() will raise Unconfirmed: %s'),
    Tier.REPLICA: (logging.ERROR, 'confirm="%s" cannot be kept now, and flush() raises Unconfirmed until it can: %s'),
}
HANDLERS = 5.0  #: seconds that running handlers have when the node stops


def _tier(node: BaseNode, service: ServiceDeclaration) -> Tier:
    return check_tier(service.confirm or node.settings.constants.CONFIRM)


async def insist(node: BaseNode, what: str, begin: Callable[[], Awaitable[object]]) -> None:
    """Begin something, as soon as Redis lets us."""
    while True:
        try:
            await begin()
            return
        except RedisError as error:
            node.logger.warning("%s waits for Redis: %s", what, error)
            await asyncio.sleep(TRY_AGAIN)


class DurableSending:
    """The kept topics of a node's services: their groups are there before the first message, and before ``on_start``,
    which may send one.
    """

    def __init__(self, services: Sequence[ServiceDeclaration]) -> None:
        self._services = {one.topic: one for one in services}
        self._ruled: set[str] = set()
        self._tending: asyncio.Task[None] | None = None

    async def start(self, node: BaseNode) -> None:
        """Announce the topics; wait for Redis as long as it takes."""
        tending = Tending(node.bus, node.logger)
        for topic in self._services:
            await insist(node, f"topic {topic}", partial(self._announce, node, tending, topic))
        await self._check_tiers(node)

        async def renew() -> list[KeptTopic]:
            return [await self._announce(node, tending, topic) for topic in self._services]

        self._tending = asyncio.create_task(
            tending.run(renew, node.settings.constants.GROUP_RETIRE), name="tend kept topics"
        )

    async def _announce(self, node: BaseNode, tending: Tending, topic: str) -> KeptTopic:
        mine = self._services[topic]
        keep = None if mine.keep is None else str(mine.keep)
        found = await tending.announce(topic, mine.durable, keep, _tier(node, mine))
        if found.durable and not mine.durable and topic not in self._ruled:
            self._ruled.add(topic)
            node.logger.warning("%s is kept durably, as another service says, and not by keep=%r", topic, mine.keep)
        return found

    async def _check_tiers(self, node: BaseNode) -> None:
        """Say what this Redis cannot confirm."""
        for tier in sorted({_tier(node, mine) for mine in self._services.values()}):
            lack = await shortfall(node.bus.commands, tier)
            if lack:
                node.logger.log(*_LACKING[tier], tier.value, lack)

    async def stop(self) -> None:
        """Tend the topics no more. What was sent is flushed when the node says goodbye."""
        await end(self._tending)


class DurableReading:
    """The groups in which a node reads. A component: it begins after ``on_start`` and ends before ``on_shutdown``."""

    def __init__(self, subscriptions: list[DurableSubscription]) -> None:
        self._subscriptions = subscriptions
        self._groups: list[Group] = []
        self._objecting: Objecting | None = None

    async def start(self, node: BaseNode) -> None:
        """Begin to read; wait for Redis as long as it takes.

        Raises ConfigurationError where another node of this process reads in the same group.
        """
        names = list(dict.fromkeys(one.group for one in self._subscriptions))
        if taken := node.bus.groups.intersection(names):
            raise ConfigurationError(
                f"{node.name}: another node of this process reads in group {min(taken)!r}: give one of them a process, "
                "or another group="
            )
        node.bus.groups.update(names)
        self._objecting = Objecting(node, {one.name: one.group for one in self._subscriptions})
        for one in self._subscriptions:
            one.start()
        for name in names:
            group = self._group(node, name, [one for one in self._subscriptions if one.group == name])
            await insist(node, f"group {name}", group.start)
            self._groups.append(group)

    def _group(self, node: BaseNode, name: str, members: list[DurableSubscription]) -> Group:
        @cache
        def reads(topic: str) -> DurableSubscription:
            return next(one for one in members if matches(one.name, topic))

        @cache
        def rules(topic: str) -> Rules:
            return replace(reads(topic).rules, letters=node.settings.constants.DEAD_LETTERS)

        def hand(delivery: Delivery) -> None:
            reads(delivery.topic).hand(delivery)

        def is_for(one: DurableSubscription, topic: str) -> bool:
            return reads(topic) is one

        wanted = {one.name: one.declaration.since for one in members}
        group = Group(node.bus, name, wanted, rules, hand, node.settings.constants.LEASE)
        for one in members:
            one.counted = partial(group.counted, partial(is_for, one))
        return group

    async def stop(self, node: BaseNode) -> None:
        """Let handlers end, tell Redis what was handled, and leave the rest to others."""
        if self._objecting is not None:
            self._objecting.close()
        for group in self._groups:
            await group.stop_reading()
        hangs = await asyncio.gather(*(one.stopped(HANDLERS) for one in self._subscriptions))
        for one, where in zip(self._subscriptions, hangs, strict=True):
            if where:
                hung = "%s did not finish; its message is tried again. It is in\n%s"
                node.logger.error(hung, one.handler.name, where)
        for group in self._groups:
            await group.aclose()
