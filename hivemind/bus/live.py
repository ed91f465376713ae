"""Live subscriptions: what a process receives, over one connection of its own.

A subscription asks Redis for its exact topic or its pattern. A resolved one holds exact topics, and somebody else tells
of new ones.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from ..errors import RedisDenied, RedisUnavailable
from ..patterns import PatternTable
from ..topics import Names
from .channels import Channels, Listener
from .endpoint import Endpoint
from .receiving import LiveSubscription

Tails = Mapping[LiveSubscription, dict[str, int]]  #: what a sender says it sent last, of each subscription's topics


class Mender(Protocol):
    """Who finds what passed by. All calls come on the event loop."""

    def lost(self) -> None:
        """Messages pass by from now on."""

    def back(self) -> None:
        """Messages come again."""


class Live:
    """The receiving half of a process on the bus.

    ``on_gap(reason)`` is called when a connection over which messages came got lost: live messages may pass by until
    the next is made; ``on_back()`` when all such connections are made again; ``on_up()`` whenever the home's is. The
    ``mender`` is told of both first.
    """

    def __init__(self, endpoint: Endpoint, name: str, names: Names) -> None:
        self.home = Channels(endpoint, name, names, self)
        self.link = self.home.link
        self.on_gap: Callable[[str], None] | None = None
        self.on_back: Callable[[], None] | None = None
        self.on_up: Callable[[], None] | None = None
        self.mender: Mender | None = None
        self._names = names
        self._table: PatternTable[LiveSubscription] = PatternTable()
        self._channels: dict[LiveSubscription, set[bytes]] = {}  # of every subscription, what it has asked for
        self._resolved: set[LiveSubscription] = set()
        self._away: set[Channels] = set()  # those that had a gap, and whose connection is not made again
        self._changed = asyncio.Event()
        self._closed = False

    def start(self) -> None:
        """Begin to connect."""
        self.home.start()

    async def aclose(self) -> None:
        """Close the connection; nothing comes any more, what is in an inbox stays. May be called twice."""
        self._closed = True
        await self.home.aclose()
        self.answered()
        for subscription in self.subscriptions:
            subscription.close()

    @property
    def subscriptions(self) -> list[LiveSubscription]:
        """All of this process's live subscriptions."""
        return list(self._channels)

    def of(self, topic: str) -> list[LiveSubscription]:
        """The subscriptions that want ``topic``."""
        return list(self._table.of(topic))

    @property
    def gaps(self) -> int:
        """How often a connection that was up got lost: so often live messages may have passed by."""
        return self.link.gaps

    @property
    def denied(self) -> dict[str, str]:
        """Channels and patterns that Redis will not let us have, and what it said."""
        return self.home.denied

    # -- who wants what

    def add(self, subscription: LiveSubscription, *, resolved: bool = False) -> None:
        """Subscribe; nothing if that is done. ``confirmed`` waits until Redis has said yes.

        With ``resolved`` Redis is asked for nothing yet, and for exact topics only: see ``widen``.
        """
        if subscription in self._channels:
            return
        self._channels[subscription] = set()
        self._table.add(subscription.pattern, subscription)
        if resolved:
            self._resolved.add(subscription)
        else:
            self._want(subscription, subscription.pattern)

    def remove(self, subscription: LiveSubscription) -> None:
        """Unsubscribe and close the inbox: what is in it can still be taken."""
        for channel in self._channels.pop(subscription, ()):
            self._detach(channel, subscription)
        self._table.remove(subscription.pattern, subscription)
        self._resolved.discard(subscription)
        subscription.close()

    def widen(self, topics: Iterable[str], first_used: float = 0.0) -> set[bytes]:
        """Let resolved subscriptions have those of ``topics`` that they match; return the channels that it takes.

        ``first_used`` is when they were, in unix milliseconds by Redis's clock; 0 if that is not known.
        """
        return {
            channel
            for topic in topics
            for subscription in self._table.of(topic)
            if subscription in self._resolved
            for channel in self._want_new(subscription, topic, first_used)
        }

    @property
    def resolved(self) -> list[str]:
        """The patterns of resolved subscriptions, sorted."""
        return sorted({subscription.pattern for subscription in self._resolved})

    def _want_new(self, subscription: LiveSubscription, topic: str, first_used: float) -> set[bytes]:
        """As ``_want``; on a topic that is newer than the subscription everybody has begun with number 1."""
        if first_used > subscription.ledger.ready:
            subscription.ledger.new_topics.add(topic)
        return self._want(subscription, topic)

    def _want(self, subscription: LiveSubscription, topic: str) -> set[bytes]:
        wanted = self._ways(subscription, topic)
        for channel in sorted(wanted - self._channels[subscription]):
            self._channels[subscription].add(channel)
            self._attach(channel, subscription)
        return wanted

    def _ways(self, subscription: LiveSubscription, topic: str) -> set[bytes]:  # noqa: ARG002 - over shards there are more
        """The channels on which messages of a topic, or a pattern of topics, come to a subscription."""
        return {self._names.live(topic).encode()}

    def _attach(self, channel: bytes, subscription: LiveSubscription) -> None:
        self.home.join(channel, subscription)

    def _detach(self, channel: bytes, subscription: LiveSubscription) -> None:
        self.home.leave(channel, subscription)

    def listen(self, channel: str, listener: Listener) -> None:
        """Call ``listener`` with the bytes of each message on one exact channel: notices and beats of ours."""
        self.home.listen(channel.encode(), listener)

    def unlisten(self, channel: str, listener: Listener) -> None:
        """End what ``listen`` began."""
        self.home.unlisten(channel.encode(), listener)

    # -- what a beat says

    def enter_tail(self, sender: str, incarnation: int, last: Mapping[str, int]) -> None:
        """Enter what a beat says was sent ``last``, behind all messages that were sent before the beat.

        Over one connection they have come before it.
        """
        enter_tails(self._tails(last), sender, incarnation)

    def _tails(self, last: Mapping[str, int]) -> Tails:
        tails: defaultdict[LiveSubscription, dict[str, int]] = defaultdict(dict)
        for topic, sequence in last.items():
            for subscription in self._table.of(topic):
                tails[subscription][topic] = sequence
        return tails

    # -- waiting for Redis

    async def confirmed(self, subscription: LiveSubscription | None = None) -> None:
        """Return when Redis has confirmed ``subscription``, or all that is wanted, as far as it can be reached. Raises
        RedisDenied if it forbids it, and RedisUnavailable when we are closed meanwhile.

        What it forbids is asked for again every few seconds, and begins to work when it is allowed.
        """
        while not self.link.is_up or not all(self._is_settled(channel) for channel in self._of(subscription)):
            denied = [channel for channel in self._of(subscription) if self._refusal(channel)]
            if denied and self.link.is_up and not self.home.is_asking:
                reason = self._refusal(denied[0])
                raise RedisDenied(f"Redis forbids us to subscribe to {denied[0].decode()!r}: {reason}")
            await self._change()

    async def answered_for(self, channels: Collection[bytes]) -> None:
        """Return when Redis has said yes or no, over one connection, to each of ``channels`` that is still wanted, as
        far as it can be reached. Raises RedisUnavailable when we are closed meanwhile.
        """
        while not self.link.is_up or any(self._is_open(channel) for channel in channels):
            await self._change()

    async def fence(self) -> bool:
        """Return when all that Redis has sent us by now is read; False if the connection got lost meanwhile."""
        gaps, passed = self.gaps, asyncio.Event()
        self.home.fence(passed.set)
        await passed.wait()
        return self.link.is_up and self.gaps == gaps

    async def _change(self) -> None:
        """Wait for an answer of Redis, or whatever else may matter to who waits."""
        if self._closed:
            raise RedisUnavailable(f"{self.link.endpoint.redacted}: the connection was closed")
        await self._changed.wait()

    def _is_open(self, channel: bytes) -> bool:
        return self._wants(channel) and not self._is_settled(channel) and not self._refusal(channel)

    def _is_settled(self, channel: bytes) -> bool:
        return self._has(channel) or self._is_away(channel)

    def _is_away(self, channel: bytes) -> bool:  # noqa: ARG002 - without its home a process does nothing at all
        """Whether nobody can say when ``channel`` will be served: it is subscribed to by itself when it is."""
        return False

    def _of(self, subscription: LiveSubscription | None) -> set[bytes]:
        return self.home.wanted if subscription is None else self._channels.get(subscription, set())

    def _wants(self, channel: bytes) -> bool:
        return self.home.wants(channel)

    def _has(self, channel: bytes) -> bool:
        return self.home.has(channel)

    def _refusal(self, channel: bytes) -> str:
        return self.home.refusal(channel)

    # -- told by channels

    def answered(self) -> None:
        """Wake those who wait: they look for themselves."""
        self._changed.set()
        self._changed = asyncio.Event()

    def ready(self, channels: Channels) -> None:
        """A connection is made."""
        self._came_back(channels)
        if channels is self.home and self.on_up is not None:
            self.on_up()

    def lost(self, channels: Channels, reason: str, is_gap: bool) -> None:
        """A connection is gone, or cannot be made."""
        if is_gap:
            self._away.add(channels)
            if self.mender is not None:
                self.mender.lost()
            if self.on_gap is not None:
                self.on_gap(reason)

    def _came_back(self, channels: Channels) -> None:
        if channels in self._away:
            self._away.discard(channels)
            if self._away:
                return
            if self.mender is not None:
                self.mender.back()
            if self.on_back is not None:
                self.on_back()


def enter_tails(tails: Tails, sender: str, incarnation: int) -> None:
    """Enter in each ledger what a sender says it sent last."""
    for subscription, last in tails.items():
        subscription.ledger.tail(sender, incarnation, last)
