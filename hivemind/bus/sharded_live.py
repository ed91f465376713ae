"""Live subscriptions over all shards of a Cluster: each exact topic by SSUBSCRIBE where its slot is served.

One connection a shard, made when the first topic needs it; notices and beats come over the home, and so does what is
kept: each exact topic is subscribed to there, too, for nobody knows who will keep it. A channel changes
its shard when the old one says that it has lost it, when its connection is gone, or when the map goes on saying so; and
then all that the old one had sent is read first. So nothing that is under way is ever taken for lost.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial

from ..topics import Names, ShardedNames, is_pattern
from .channels import Channels
from .cluster import Address
from .doubts import Doubts
from .endpoint import Endpoint
from .live import Live, enter_tails
from .open_shards import OpenShards
from .receiving import LiveSubscription
from .shard_channels import ShardChannels
from .shards import Shards


class ShardedLive(Live):
    """The receiving half of a process in a Cluster. As ``Live``, over the home, until ``spread``."""

    def __init__(
        self, endpoint: Endpoint, name: str, names: Names, shards: Shards, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(endpoint, name, names)
        self.shards: OpenShards[ShardChannels] = OpenShards(shards, self._made)
        self._map = shards
        self._sharded = ShardedNames(names.hive)
        self._begin = self._sharded.live("").encode()[:-1]  # how the channels of all shards begin
        self._where: dict[bytes, ShardChannels | None] = {}  # all channels that travel over shards
        self._members: dict[bytes, list[LiveSubscription]] = {}  # and who wants them
        self._doubts = Doubts(clock)
        self._shard_gaps = 0

    def _made(self, address: Address) -> ShardChannels:
        return ShardChannels(self.link, address, self._sharded, self)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.shards.aclose()
        await super().aclose()

    def spread(self) -> None:
        """Let messages come from the shards from now on, also what was subscribed to at the home."""
        self._map.on_change.append(self._follow)
        for subscription, channels in self._channels.items():
            for channel in [one for one in channels if not is_pattern(one.decode())]:
                self._want(subscription, self._names.topic(channel.decode()))

    @property
    def gaps(self) -> int:
        """As of one Redis, of the home and of all shards."""
        return self.link.gaps + self._shard_gaps

    @property
    def denied(self) -> dict[str, str]:
        """Channels and patterns that Redis will not let us have, of all shards."""
        return super().denied | {name: why for shard in self.shards for name, why in shard.denied.items()}

    # -- who wants what, and where it is

    def add(self, subscription: LiveSubscription, *, resolved: bool = False) -> None:
        """Subscribe. What Redis has matched so far may be resolved from now on: it has to become ready once more."""
        if resolved and subscription in self._channels and subscription not in self._resolved:
            subscription.ledger.ready = float("inf")
        super().add(subscription, resolved=resolved)
        if resolved:
            self._resolved.add(subscription)

    def _ways(self, subscription: LiveSubscription, topic: str) -> set[bytes]:
        """What is kept comes over the home, also where Redis has matched it by a pattern so far."""
        home = super()._ways(subscription, topic)
        if not self._map.is_used or is_pattern(topic):
            return home
        comes_there = not self._channels[subscription].isdisjoint(super()._ways(subscription, subscription.pattern))
        return {self._shard_channel(topic)} | (set() if comes_there else home)

    def _shard_channel(self, topic: str) -> bytes:
        return self._sharded.live(topic).encode()

    def _topic(self, channel: bytes) -> str:
        return self._sharded.topic(channel.decode())

    def _attach(self, channel: bytes, subscription: LiveSubscription) -> None:
        if not channel.startswith(self._begin):
            super()._attach(channel, subscription)
            return
        self._members.setdefault(channel, []).append(subscription)
        if channel not in self._where:
            self._where[channel] = self.shards.serving(self._topic(channel))
        if (shard := self._where[channel]) is not None:
            shard.join(channel, subscription)

    def _detach(self, channel: bytes, subscription: LiveSubscription) -> None:
        if channel not in self._members:
            super()._detach(channel, subscription)
            return
        self._members[channel].remove(subscription)
        if (shard := self._where[channel]) is not None:
            shard.leave(channel, subscription)
        if not self._members[channel]:
            del self._members[channel], self._where[channel]
            self._doubts.forget(channel)

    def _of(self, subscription: LiveSubscription | None) -> set[bytes]:
        return super()._of(subscription) | (self._members.keys() if subscription is None else set())

    def _wants(self, channel: bytes) -> bool:
        return channel in self._members or super()._wants(channel)

    def _has(self, channel: bytes) -> bool:
        if channel not in self._members:
            return super()._has(channel)
        shard = self._where[channel]
        return shard is not None and shard.has(channel)

    def _is_away(self, channel: bytes) -> bool:
        if channel not in self._members:
            return False
        shard = self._where[channel]
        return shard.is_away if shard is not None else bool(self._map.map.ranges)

    def _refusal(self, channel: bytes) -> str:
        shard = self._where.get(channel)
        return shard.refusal(channel) if shard is not None else super()._refusal(channel)

    # -- what a beat says

    def enter_tail(self, sender: str, incarnation: int, last: Mapping[str, int]) -> None:
        """A beat comes over the home, and must not overtake what it tells of: each shard is asked for a sign first."""
        parts: defaultdict[ShardChannels | None, defaultdict[LiveSubscription, dict[str, int]]]
        parts = defaultdict(lambda: defaultdict(dict))
        for subscription, told in self._tails(last).items():
            for topic, sequence in told.items():
                parts[self._where.get(self._shard_channel(topic))][subscription][topic] = sequence
        for shard, tails in parts.items():
            if shard is None:
                enter_tails(tails, sender, incarnation)
            else:
                shard.fence(partial(enter_tails, tails, sender, incarnation))

    # -- when slots move

    def redirected(self, shard: ShardChannels, channel: bytes, slot: int, address: Address) -> None:
        """A shard does not serve ``channel``, and says who does."""
        if self._is_forgotten(shard, channel):
            self._map.redirected(slot, address)
            self._rehome(channel)

    def disowned(self, shard: ShardChannels, channel: bytes) -> None:
        """A shard does not serve ``channel`` any more. It is asked once more: then it says who does, or takes us as the
        replica that it has become.
        """
        if self._is_forgotten(shard, channel):
            self._doubts.disowned(channel)
            self._attach_to(channel, shard)
            self._map.refresh(shard.address)

    def _is_forgotten(self, shard: ShardChannels, channel: bytes) -> bool:
        """Whether a channel was to come from ``shard``; now it comes from nowhere."""
        shard.forget(channel)
        if self._where.get(channel) is not shard:
            return False
        self._where[channel] = None
        return True

    def _follow(self) -> None:
        """The map may have changed: move what is elsewhere now, close what nobody needs."""
        behind: defaultdict[ShardChannels, list[bytes]] = defaultdict(list)
        for channel, shard in list(self._where.items()):
            address = self._map.primary(self._topic(channel))
            if address is None:
                continue
            if shard is not None and shard.address == address:
                self._doubts.agreed(channel)
            elif shard is None or not shard.link.is_up:
                self._rehome(channel)
            elif self._doubts.contradicted(channel, address):
                behind[shard].append(channel)
        for old, channels in behind.items():
            old.fence(partial(self._rehome_all, old, channels))
        self._tidy()

    def _rehome_all(self, old: ShardChannels, channels: list[bytes]) -> None:
        for channel in channels:
            if self._where.get(channel) is old:
                self._rehome(channel)
        self._tidy()

    def _rehome(self, channel: bytes) -> None:
        old, new = self._where.get(channel), self.shards.serving(self._topic(channel))
        if channel not in self._members or new is old or new is None:
            return
        self._doubts.forget(channel)
        if old is not None:
            for subscription in self._members[channel]:
                old.leave(channel, subscription)
        self._attach_to(channel, new)

    def _attach_to(self, channel: bytes, shard: ShardChannels) -> None:
        self._where[channel] = shard
        for subscription in self._members[channel]:
            shard.join(channel, subscription)

    def _tidy(self) -> None:
        for closed in self.shards.tidy():
            self._came_back(closed)  # nothing is wanted from there any more

    # -- told by channels

    def lost(self, channels: Channels, reason: str, is_gap: bool) -> None:
        """Messages of one shard that pass by are as much a gap as those of the home; and it may serve nothing more."""
        if not isinstance(channels, ShardChannels):
            super().lost(channels, reason, is_gap)
            return
        self._shard_gaps += is_gap
        super().lost(channels, reason, is_gap)
        self._follow()
        self.shards.lost(channels)
