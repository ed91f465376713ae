"""What a process sends, over all shards of a Cluster: one spool that numbers and bounds, and a lane for each shard.

A message gets its number and its form in the spool, then goes into the lane of the shard that serves its topic. When
a slot moves its messages change lanes, in their order; those that the old shard has not answered for are sent again,
and receivers drop what they had already.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from itertools import chain

from .carrier import GRACE, Carrier
from .cluster import Address, redirection
from .endpoint import Endpoint
from .lanes import Lane, LanedSpool
from .open_shards import OpenShards
from .outbox import Outbox
from .outgoing import Entry, Fate
from .queues import index_of
from .shards import Shards

AGAIN = 0.02  #: seconds between two looks whether messages still have to wait for what is under way elsewhere


class ShardCarrier(Carrier):
    """What carries the messages of one lane to one shard."""

    def __init__(self, whole: ShardedOutbox, address: Address) -> None:
        self.lane, self.address = Lane(), address
        super().__init__(whole.link.endpoint.at(address), whole.link.name, self.lane, whole)
        self._whole = whole
        self._until: dict[str, float] = {}  # topics that are held in the lane, and until when on the loop's clock

    @property
    def is_idle(self) -> bool:
        """Whether nothing is here."""
        return self.lane.is_empty and self.is_empty

    def hold_back(self, topics: Iterable[str]) -> None:
        """Send nothing on ``topics`` for a moment: receivers have yet to expect it here."""
        self._hold({*topics}, GRACE)

    def holds(self, topic: str) -> bool:
        """Whether messages of ``topic`` have to wait here."""
        return topic in self._until

    def _hold(self, topics: set[str], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        self._until |= dict.fromkeys(topics, until)
        self.lane.hold(topics)
        loop.call_at(until, self._hold_over, until)

    def _hold_over(self, now: float) -> None:
        """Let go what was held until now, but for what others have under way that has to arrive before it."""
        over = {topic for topic, until in self._until.items() if until <= now}
        awaited = self._whole.awaited(self, over)
        for topic in over - awaited:
            del self._until[topic]
        self.lane.let_go(over - awaited)
        if awaited:
            self._hold(awaited, AGAIN)
        self.resume()

    def is_pending(self, target: int) -> bool:
        """Whether one of the first ``target`` messages is here."""
        return self.lane.oldest <= target or any(entry[3] <= target for entry in self.under_way())


class ShardedOutbox(Outbox):
    """The sending half of a process in a Cluster. As ``Outbox``, over the home, until ``spread``."""

    spool: LanedSpool

    def __init__(self, endpoint: Endpoint, name: str, spool: LanedSpool, shards: Shards) -> None:
        super().__init__(endpoint, name, spool)
        self.shards: OpenShards[ShardCarrier] = OpenShards(shards, partial(ShardCarrier, self))
        self._map = shards
        self._routes: dict[str, ShardCarrier | None] = {}
        self._limbo = Lane()  # messages on topics that nobody is known to serve
        self._strays: list[Entry] = []  # messages that were sent to where they are not served any more

    async def aclose(self) -> None:
        """Close all links."""
        await self.shards.aclose()
        await super().aclose()

    def spread(self) -> None:
        """Let messages travel over all shards from now on."""
        self._map.on_change.append(self._follow)
        self.spool.spread(lambda topic: self._lane(self._route(topic)), self._lanes, self._here)

    # -- which way

    def _route(self, topic: str) -> ShardCarrier | None:
        if topic not in self._routes:
            self._routes[topic] = self.shards.serving(topic)
        return self._routes[topic]

    def _lane(self, shard: ShardCarrier | None) -> Lane:
        return self._limbo if shard is None else shard.lane

    def _lanes(self) -> list[Lane]:
        return [self._limbo, *(shard.lane for shard in self.shards)]

    def _place(self, entries: list[Entry]) -> None:
        """Put messages that were in other lanes where they belong now."""
        piles: defaultdict[ShardCarrier | None, list[Entry]] = defaultdict(list)
        for entry in entries:
            piles[self._route(entry[1])].append(entry)
        for shard, pile in piles.items():
            if shard is not None:
                shard.hold_back({entry[1] for entry in pile if not shard.holds(entry[1])})
                shard.resume()
            self._lane(shard).put_back(pile)

    def _follow(self) -> None:
        """The map may have changed: let messages change lanes, and close what nobody needs."""
        old, self._routes = self._routes, {}
        moved: defaultdict[ShardCarrier, list[str]] = defaultdict(list)
        for topic, before in old.items():
            after = self._route(topic)
            if before is not None and after is not None and after is not before:
                moved[after].append(topic)
        for shard, topics in moved.items():
            shard.hold_back(topics)
        strays: list[Entry] = []
        for whose in (None, *self.shards):
            if not (lane := self._lane(whose)).is_empty:
                strays += lane.pick(partial(self._is_stray, whose))
        self._place(strays)
        self.shards.tidy()

    def _is_stray(self, shard: ShardCarrier | None, topic: str) -> bool:
        """Whether messages of ``topic`` do not belong to ``shard``."""
        return self._route(topic) is not shard

    def awaited(self, shard: ShardCarrier, topics: set[str]) -> set[str]:
        """Those of ``topics`` that ``shard`` has to send, and of which another has yet to answer for older messages."""
        ours = {topic for topic in topics if self._route(topic) is shard}
        others = (other for other in self.shards if other is not shard)
        return {entry[1] for other in others for entry in other.under_way() if entry[1] in ours} if ours else ours

    # -- as an outbox

    def resume(self) -> None:
        """Look again, on the loop, whether something may be written anywhere."""
        super().resume()
        for shard in self.shards:
            shard.resume()

    def _turn(self) -> None:
        if self._map.is_used:
            self.spool.attend()  # first: what is added from now on needs another turn
            self.spool.hand_out()
            for shard in self.shards:
                if len(shard.lane):
                    shard.resume()
        super()._turn()

    def _here(self) -> Iterable[Entry]:
        lanes = [lane.queued() for lane in self._lanes()]
        under_way = [shard.under_way() for shard in self.shards]
        return sorted(chain(super()._here(), self._strays, *lanes, *under_way), key=index_of)

    def _is_pending(self, target: int) -> bool:
        if super()._is_pending(target) or self._limbo.oldest <= target:
            return True
        return any(shard.is_pending(target) for shard in self.shards)

    # -- as the keeper of what is carried

    def refused_by(self, carrier: Carrier, entry: Entry, reply: object) -> Fate:
        """A shard may say that it does not serve a slot any more, and who does."""
        asked = carrier.link.endpoint.address
        found = None if asked is None else redirection(reply, asked)
        if found is None or not entry[1]:
            return super().refused_by(carrier, entry, reply)
        self._strays.append(entry)
        self._map.redirected(*found)
        return Fate.STRAY

    def heard(self) -> None:
        """What is to be sent elsewhere has to be answered for there."""
        self._place_strays()
        super().heard()

    def _place_strays(self) -> None:
        if self._strays:
            strays, self._strays = self._strays, []
            self._place(strays)

    def lost(self, carrier: Carrier) -> None:
        """A shard that is away may serve nothing any more."""
        self._place_strays()
        if isinstance(carrier, ShardCarrier):
            self._follow()
            self.shards.lost(carrier)
