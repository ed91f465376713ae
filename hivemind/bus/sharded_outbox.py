"""What a process sends, over all shards of a Cluster: one spool that numbers and bounds, and a lane for each shard.

A message gets its number and its form in the spool, then goes into the lane of the shard that serves its topic. When
a slot moves its messages change lanes, in their order; those that the old shard has not answered for are sent again,
and receivers drop what they had already.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from itertools import chain

from ..errors import Undelivered
from .cluster import Address, moved_to
from .endpoint import Endpoint
from .lanes import Lane, LanedSpool, index_of
from .outbox import SETTLE, Outbox
from .outgoing import Entry
from .shards import Shards
from .spool import weight

AGAIN = 0.02  #: seconds between two looks whether a lane still has to wait for another


class ShardOutbox(Outbox):
    """What is sent to one shard."""

    def __init__(self, whole: ShardedOutbox, address: Address) -> None:
        home = whole.link
        self.lane = Lane(whole.spool)
        super().__init__(home.endpoint.at(address), home.name, self.lane)
        self.address = address
        self.guard = whole.may_write
        self._failures = whole.failures
        self._whole = whole
        self._strays: list[Entry] = []

    def pause(self) -> None:
        """Send nothing for a moment: messages come that receivers have yet to expect from here."""
        self._stop_settling()
        self._settling = asyncio.get_running_loop().call_later(SETTLE, self._settled)

    def under_way(self) -> list[Entry]:
        """The messages that were written and have no answer."""
        return list(self._under_way())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is here."""
        return not len(self.lane) and not self._unanswered

    def is_pending(self, target: int) -> bool:
        """Whether one of the first ``target`` messages is here."""
        return self.lane.oldest <= target or any(entry[3] <= target for entry in self._under_way())

    def _settled(self) -> None:
        if self._whole.is_awaited(self):
            self._settling = asyncio.get_running_loop().call_later(AGAIN, self._settled)
        else:
            super()._settled()

    def link_received(self, data: bytes) -> None:
        """As always; what is to be sent elsewhere was answered for here, and has to be answered for there."""
        super().link_received(data)
        if self._strays:
            strays, self._strays = self._strays, []
            self.lane.settle(-len(strays), -weight(strays))
            self._whole.place(strays)

    def link_lost(self, reason: str) -> None:
        """What has no answer goes again; the map may be old."""
        super().link_lost(reason)
        self._whole.shard_lost(self)

    def _refuse(self, entry: Entry, reply: object) -> bool:
        moved = moved_to(reply, self.address)
        if moved is None:
            before = self.refused
            is_answer = super()._refuse(entry, reply)
            self._whole.refused += self.refused - before
            return is_answer
        if entry[1]:
            self._strays.append(entry)
            self._whole.moved(*moved)
        return True

    def _moved(self) -> None:
        super()._moved()
        self._whole.shard_moved()


class ShardedOutbox(Outbox):
    """The sending half of a process in a Cluster. As ``Outbox``, over the home, until the shards are used."""

    spool: LanedSpool

    def __init__(self, endpoint: Endpoint, name: str, spool: LanedSpool, shards: Shards) -> None:
        super().__init__(endpoint, name, spool)
        self._shards = shards
        self._open: dict[Address, ShardOutbox] = {}
        self._routes: dict[str, ShardOutbox | None] = {}
        self._limbo = Lane(self.spool)  # messages on topics that nobody is known to serve
        self._closing: set[asyncio.Task[None]] = set()
        shards.on_start.append(self._spread)
        shards.on_change.append(self._follow)

    @property
    def failures(self) -> deque[tuple[int, Undelivered]]:
        """What Redis refused, wherever."""
        return self._failures

    async def aclose(self) -> None:
        """Close all links."""
        for shard in list(self._open.values()):
            await shard.aclose()
        await asyncio.gather(*self._closing)
        await super().aclose()

    def _spread(self) -> None:
        self.spool.lanes = lambda: (self._limbo, *[shard.lane for shard in tuple(self._open.values())])
        self.spool.unanswered = self._all_unanswered
        self.spool.spread(lambda topic: self._lane(self._route(topic)))

    # -- which way

    def _route(self, topic: str) -> ShardOutbox | None:
        if topic not in self._routes:
            self._routes[topic] = self._serving(topic)
        return self._routes[topic]

    def _serving(self, topic: str) -> ShardOutbox | None:
        address = self._shards.primary(topic)
        if address is None:
            return None
        if address not in self._open:
            self._open[address] = ShardOutbox(self, address)
            self._open[address].start()
        return self._open[address]

    def _lane(self, shard: ShardOutbox | None) -> Lane:
        return self._limbo if shard is None else shard.lane

    def place(self, entries: list[Entry]) -> None:
        """Put messages that were in other lanes where they belong now."""
        piles: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            piles[entry[1]].append(entry)
        for topic, pile in piles.items():
            shard = self._route(topic)
            self._lane(shard).insert(pile)
            if shard is not None:
                shard.pause()
                shard.resume()

    def _follow(self) -> None:
        """The map may have changed: let messages change lanes, and close what nobody needs."""
        if not self._shards.is_used:
            return
        old, self._routes = self._routes, {}
        for topic, before in old.items():
            after = self._route(topic)
            if before is not None and after is not None and after is not before:
                after.pause()
        strays: list[Entry] = []
        for shard in (None, *self._open.values()):
            lane = self._lane(shard)
            if len(lane):
                strays += lane.pick(lambda topic, shard=shard: self._route(topic) is not shard)  # type: ignore[misc]
        self.place(strays)
        self._tidy()

    def is_awaited(self, shard: ShardOutbox) -> bool:
        """Whether another shard has yet to answer for messages that ``shard`` would have to send before its own."""
        others = (other for other in self._open.values() if other is not shard)
        return any(self._route(entry[1]) is shard for other in others for entry in other.under_way())

    def _tidy(self) -> None:
        serving = self._shards.map.primaries
        for address in [one for one, shard in self._open.items() if shard.is_idle and one not in serving]:
            closing = asyncio.create_task(self._open.pop(address).aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    # -- as an outbox

    def resume(self) -> None:
        """Look again, on the loop, whether something may be written anywhere."""
        super().resume()
        for shard in self._open.values():
            shard.resume()

    def _flush(self) -> None:
        if self._shards.is_used:
            self.spool.is_awake = False  # first: what is added from now on needs another turn
            self.spool.hand_out()
            for shard in tuple(self._open.values()):
                if len(shard.lane):
                    shard.resume()
        super()._flush()

    def may_write(self) -> bool:
        """Whether messages may be written now."""
        return self.guard is None or self.guard()

    def _all_unanswered(self) -> Iterable[Entry]:
        shards = list(self._open.values())
        lanes = [lane.queued() for lane in self.spool.lanes()]
        return chain(self.spool.queued(), *lanes, *(shard.under_way() for shard in shards))

    def _is_pending(self, target: int) -> bool:
        if super()._is_pending(target) or self._limbo.oldest <= target:
            return True
        return any(shard.is_pending(target) for shard in self._open.values())

    def _pending(self, target: int, held: dict[str, int]) -> list[Undelivered]:
        here = sorted((entry for entry in self._all_unanswered() if entry[3] <= target), key=index_of)
        found = [Undelivered(topic, number, "unconfirmed") for _, topic, number, _ in here]
        return found + super()._pending(-1, held)

    # -- told by shards

    def moved(self, slot: int, address: Address) -> None:
        """A shard says that it does not serve a slot any more, and who does."""
        self._shards.moved(slot, address)

    def shard_lost(self, shard: ShardOutbox) -> None:
        """The connection to a shard is gone, or cannot be made: it may serve nothing any more."""
        self._follow()
        if shard.address in self._open:
            self._shards.refresh(shard.address)

    def shard_moved(self) -> None:
        """A shard is done with something that somebody may wait for."""
        self._moved()
