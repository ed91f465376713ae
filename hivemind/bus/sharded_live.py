"""Live subscriptions over all shards of a Cluster: each exact topic by SSUBSCRIBE where its slot is served.

One connection a shard, made when the first topic needs it; notices and beats come over the home. A channel changes
its shard when the old one says that it has lost it, when its connection is gone, or when the map goes on saying so; and
then all that the old one had sent is read first. So nothing that is under way is ever taken for lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import RedisUnavailable
from ..topics import Names, ShardedNames, is_pattern
from .cluster import Address, redirection
from .endpoint import Endpoint, reply_error
from .link import PING, Link, pack
from .live import Live
from .receiving import LiveSubscription
from .shards import Shards

DOUBT = 2.0  #: seconds for which the map has to contradict a shard that serves us: maps may be old, too
_FENCE = "FENCE"


class ShardLive(Live):
    """What is received from one shard."""

    def __init__(self, whole: ShardedLive, address: Address) -> None:
        home = whole.link
        super().__init__(home.endpoint.at(address), home.name, whole.sharded)
        self.address = address
        self.on_gap = lambda reason: whole.shard_gap(self.link, reason)
        self.on_back = lambda: whole.shard_back(self.link)
        self._whole = whole
        self._fences: list[Callable[[], None]] = []  # those that the PING under way is for
        self._next_fences: list[Callable[[], None]] = []
        self._is_passed = False
        self._lost: list[bytes] = []  # channels that this shard has stopped serving

    @property
    def is_idle(self) -> bool:
        """Whether nothing is wanted from here."""
        return not self._subscriptions

    def join(self, channel: bytes, subscription: LiveSubscription) -> None:
        """Let ``subscription`` have a channel."""
        self._join(self._subscriptions, channel, subscription)

    def leave(self, channel: bytes, subscription: LiveSubscription) -> None:
        """End what ``join`` began."""
        self._leave(self._subscriptions, channel, subscription)

    def forget(self, channel: bytes) -> None:
        """The shard does not serve ``channel`` any more: there is nothing to unsubscribe from."""
        self._subscriptions.pop(channel, None)
        self._confirmed.discard(channel)
        self._denied.pop(channel, None)

    def fence(self, passed: Callable[[], None]) -> None:
        """Call ``passed`` when all that the shard has sent by now is read, or lost with its connection."""
        if not self.link.is_up:
            passed()
            return
        self._next_fences.append(passed)
        if not self._fences:
            self._send_fence()

    def _send_fence(self) -> None:
        self._fences, self._next_fences = self._next_fences, []
        self._asked.append((_FENCE, b""))
        self.link.write(PING)

    def _pass(self, fences: list[Callable[[], None]]) -> None:
        for passed in fences:
            passed()

    # -- as the owner of its link

    def link_received(self, data: bytes) -> None:
        """As always, then what has to come behind the messages in the same buffer."""
        super().link_received(data)
        lost, self._lost = self._lost, []
        for channel in lost:
            self._whole.lost(self, channel)
        if self._is_passed:
            self._is_passed = False
            fences, self._fences = self._fences, []
            if self._next_fences:
                self._send_fence()
            self._pass(fences)

    def link_lost(self, reason: str) -> None:
        """What was under way is gone; the map may be old."""
        super().link_lost(reason)
        fences = [*self._fences, *self._next_fences]
        self._fences, self._next_fences, self._is_passed = [], [], False
        self._pass(fences)
        self._whole.shard_lost(self)

    def _ask(self, verb: str, channel: bytes) -> None:
        self._asked.append((verb, channel))
        self.link.write(pack(f"S{verb}", channel))

    def _answered(self, reply: object) -> None:
        if reply.__class__ is list and reply[0] == b"sunsubscribe":
            channel = reply[1]
            if not self._asked or self._asked[0] != ("UNSUBSCRIBE", channel):
                self._lost.append(channel)
                return
        verb, channel = self._asked[0]
        if verb == _FENCE:
            self._asked.popleft()
            self._is_passed = True
            self._notify()
        elif verb == "SUBSCRIBE" and isinstance(reply, Exception) and self._is_elsewhere(channel, reply):
            self._asked.popleft()
            self._notify()
        else:
            super()._answered(reply)

    def _is_elsewhere(self, channel: bytes, reply: Exception) -> bool:
        """Whether a channel is refused because this is not, or not now, the place to ask for it."""
        if (moved := redirection(reply, self.address)) is not None:
            self._whole.lost(self, channel, *moved)
            return True
        if isinstance(reply_error(reply), RedisUnavailable):
            self.link.drop(str(reply))
            return True
        return False

    def _notify(self) -> None:
        super()._notify()
        self._whole.shard_answered()


class ShardedLive(Live):
    """The receiving half of a process in a Cluster. As ``Live``, over the home, until the shards are used."""

    def __init__(self, endpoint: Endpoint, name: str, names: Names, shards: Shards) -> None:
        super().__init__(endpoint, name, names)
        self.sharded = ShardedNames(names.hive)
        self._shards = shards
        self._open: dict[Address, ShardLive] = {}
        self._where: dict[bytes, ShardLive | None] = {}  # all channels that travel over shards
        self._members: dict[bytes, list[LiveSubscription]] = {}  # and who wants them
        self._doubts: dict[bytes, tuple[Address, float]] = {}  # who is said to serve a channel instead, and since when
        self._closing: set[asyncio.Task[None]] = set()
        self._shard_gaps = 0

    async def aclose(self) -> None:
        """Close all connections."""
        for shard in list(self._open.values()):
            await shard.aclose()
        await asyncio.gather(*self._closing)
        await super().aclose()

    @property
    def gaps(self) -> int:
        """As of one Redis, of the home and of all shards."""
        return self.link.gaps + self._shard_gaps

    def add(self, subscription: LiveSubscription, *, resolved: bool = False) -> None:
        """Subscribe. What Redis has matched so far may be resolved from now on: it has to become ready once more."""
        if resolved and subscription in self._channels and subscription not in self._resolved:
            subscription.ledger.ready = float("inf")
        super().add(subscription, resolved=resolved)
        if resolved:
            self._resolved.add(subscription)

    def spread(self) -> None:
        """Let messages come from the shards from now on, also what was subscribed to at the home."""
        self._shards.on_change.append(self._follow)
        for subscription, channels in self._channels.items():
            for channel in [one for one in channels if not is_pattern(one.decode())]:
                channels.discard(channel)
                super()._leave(self._subscriptions, channel, subscription)
                self._want(subscription, self._names.topic(channel.decode()))

    # -- who wants what, and where it is

    def _is_spread(self, topic: str) -> bool:
        return self._shards.is_used and not is_pattern(topic)

    def _channel(self, topic: str) -> bytes:
        return self.sharded.live(topic).encode() if self._is_spread(topic) else super()._channel(topic)

    def _attach(self, channel: bytes, subscription: LiveSubscription) -> None:
        if not self._is_spread(channel.decode()):
            super()._attach(channel, subscription)
            return
        self._members.setdefault(channel, []).append(subscription)
        if channel not in self._where:
            self._where[channel] = self._serving(channel)
        if (shard := self._where[channel]) is not None:
            shard.join(channel, subscription)

    def _of(self, subscription: LiveSubscription | None) -> set[bytes]:
        return super()._of(subscription) | (self._members.keys() if subscription is None else set())

    def _leave(self, table: dict[bytes, list[Any]], channel: bytes, member: Any) -> None:
        if channel not in self._members:
            super()._leave(table, channel, member)
            return
        self._members[channel].remove(member)
        if (shard := self._where[channel]) is not None:
            shard.leave(channel, member)
        if not self._members[channel]:
            del self._members[channel], self._where[channel]
            self._doubts.pop(channel, None)

    def _serving(self, channel: bytes) -> ShardLive | None:
        """The shard that has the slot of ``channel`` as far as the map knows."""
        address = self._shards.primary(self.sharded.topic(channel.decode()))
        if address is None:
            return None
        if address not in self._open:
            self._open[address] = ShardLive(self, address)
            self._open[address].start()
        return self._open[address]

    def _has(self, channel: bytes) -> bool:
        if channel not in self._members:
            return super()._has(channel)
        shard = self._where[channel]
        return shard is not None and shard.link.is_up and shard._has(channel)

    def _refusal(self, channel: bytes) -> str:
        shard = self._where.get(channel)
        return shard._refusal(channel) if shard is not None else super()._refusal(channel)

    def _is_open(self, channel: bytes) -> bool:
        if channel not in self._members:
            return super()._is_open(channel)
        return not self._has(channel) and not self._refusal(channel)

    @property
    def denied(self) -> dict[str, str]:
        """Channels and patterns that Redis will not let us have, of all shards."""
        return super().denied | {name: why for shard in self._open.values() for name, why in shard.denied.items()}

    # -- beats

    def behind(self, last: dict[str, int], enter: Callable[[dict[str, int]], None]) -> None:
        """A beat comes over the home, and must not overtake what it tells of: each shard is asked for a sign first."""
        parts: defaultdict[ShardLive | None, dict[str, int]] = defaultdict(dict)
        for topic, sequence in last.items():
            if self.wanting(topic):
                parts[self._where.get(self.sharded.live(topic).encode())][topic] = sequence
        for shard, part in parts.items():
            if shard is None:
                enter(part)
            else:
                shard.fence(partial(enter, part))

    # -- when slots move

    def lost(self, shard: ShardLive, channel: bytes, slot: int = -1, address: Address | None = None) -> None:
        """A shard says that it does not serve ``channel`` any more, and maybe who does.

        If not it is asked once more: then it says who, or takes us as the replica that it has become.
        """
        shard.forget(channel)
        if self._where.get(channel) is not shard:
            return
        self._where[channel] = None
        if address is not None:
            self._shards.redirected(slot, address)
            self._move(channel)
        else:
            self._doubts[channel] = (shard.address, 0.0)  # whatever the map says next is believed
            self._put(channel, shard)
            self._shards.refresh(shard.address)

    def _follow(self) -> None:
        """The map may have changed: move what is elsewhere now, close what nobody needs."""
        behind: defaultdict[ShardLive, list[bytes]] = defaultdict(list)
        for channel, shard in list(self._where.items()):
            address = self._shards.primary(self.sharded.topic(channel.decode()))
            if address is None:
                continue
            if shard is not None and shard.address == address:
                if self._doubts.get(channel, ("", 0.0))[1]:
                    del self._doubts[channel]
            elif shard is None or not shard.link.is_up:
                self._move(channel)
            elif self._is_sure(channel, address):
                behind[shard].append(channel)
        for old, channels in behind.items():
            old.fence(partial(self._move_all, old, channels))
        self._tidy()

    def _is_sure(self, channel: bytes, address: Address) -> bool:
        """Whether a shard is to be believed no longer that serves ``channel``."""
        now = time.monotonic()
        said, since = self._doubts.setdefault(channel, (address, now))
        if since and said != address:
            self._doubts[channel] = (address, now)
            return False
        return now - since > DOUBT

    def _move_all(self, old: ShardLive, channels: list[bytes]) -> None:
        for channel in channels:
            if self._where.get(channel) is old:
                self._move(channel)
        self._tidy()

    def _move(self, channel: bytes) -> None:
        old, new = self._where.get(channel), self._serving(channel)
        if channel not in self._members or new is old or new is None:
            return
        self._doubts.pop(channel, None)
        if old is not None:
            for subscription in self._members[channel]:
                old.leave(channel, subscription)
        self._put(channel, new)

    def _put(self, channel: bytes, shard: ShardLive) -> None:
        self._where[channel] = shard
        for subscription in self._members[channel]:
            shard.join(channel, subscription)

    def _tidy(self) -> None:
        serving = self._shards.map.primaries
        for address in [one for one, shard in self._open.items() if shard.is_idle and one not in serving]:
            shard = self._open.pop(address)
            self._came_back(shard.link)
            closing = asyncio.create_task(shard.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    # -- told by shards

    def shard_gap(self, link: Link, reason: str) -> None:
        """Messages of one shard may pass by: as much a gap as one of the home."""
        self._shard_gaps += 1
        self._went_away(link, reason)

    def shard_back(self, link: Link) -> None:
        """A shard is back, or nothing is wanted from it any more."""
        self._came_back(link)

    def shard_lost(self, shard: ShardLive) -> None:
        """The connection to a shard is gone, or cannot be made: it may serve nothing any more."""
        self._follow()
        if shard.address in self._open:
            self._shards.refresh(shard.address)

    def shard_answered(self) -> None:
        """A shard has said something that somebody may wait for."""
        self._notify()
