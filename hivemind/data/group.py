"""One group of readers, as one life takes part in it: which topics it reads, what it holds, whom it inherits from.

What others held and left is found where it lies, at the consumers of the group: nothing else has to be remembered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping

from ..bell import Bell
from ..bus.bus import Bus
from ..bus.deliveries import Deliveries
from ..bus.delivery import Delivery
from ..bus.group_reader import GroupReader
from ..bus.keyed_reader import KeyedReader
from ..bus.streams import Home, Reader
from ..bus.tally import Counted, Tally, total
from ..bus.trials import Rules
from ..cancelling import end
from ..english import amount
from ..errors import RedisError, TakenOver
from ..message import is_count
from ..states import DeliveryState
from .heirs import ENDED, Heirs
from .kept import KEPT, Kept

log = logging.getLogger("hivemind.durable")

LOOK = 2.0  #: seconds between two looks at who else reads
CHECK = 15.0  #: seconds between two looks whether there are new topics, though nobody told
ROOM, ROOM_SIZE = 2000, 64 << 20  #: messages that one life holds of a group, and how many bytes they are, about
AHEAD, LEAST = 4, 32  #: messages of different keys that one life takes, for each worker, and in any case
PORTION = 1000  #: messages that are taken over at once


class Group:
    """Reads what ``wanted`` says, pattern by pattern with where each begins, and gives ``hand`` every message.

    ``rules`` says of a topic how its messages are tried again. Whoever handles a delivery tells its ``owner``.
    """

    def __init__(
        self,
        bus: Bus,
        group: str,
        wanted: Mapping[str, str],
        rules: Callable[[str], Rules],
        hand: Callable[[Delivery], None],
        lease: float,
    ) -> None:
        self.name, self.wanted = group, wanted
        self.topics: list[str] = []
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._bus, self._rules, self._hand = bus, rules, hand
        self._streams = bus.streams
        self._lease = lease
        self._home = Home(bus.endpoint, f"hm:{bus.instance}:read", bus.names, bus.functions)
        self._kept = Kept(bus.streams)
        self._heirs = Heirs(bus.commands, bus.names, lease, bus.streams.jumps)
        self._news = Bell()
        self._gaps = 0
        self._checked = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._join(bus.incarnation)

    def _join(self, incarnation: int) -> None:
        """Take part as a new life: what the one before held is not ours any more."""
        self._me = self._reader_at(incarnation)
        self.deliveries = Deliveries(self._streams, self._me, self._rules, self._hand, self.tallies)
        self.deliveries.standing.lease = self._lease
        self.deliveries.standing.speaks = self._bus.outbox.may_write
        deliveries = self.deliveries
        self._reader = GroupReader(self._home, self._streams, self._me, deliveries)
        self._keyed = KeyedReader(self._home, self._streams, deliveries, self._path)
        self._reader.speaks = self._keyed.speaks = self._bus.outbox.may_write
        self._reader.spare = lambda: min(ROOM, ROOM_SIZE // max(1, self._reader.mean)) - len(deliveries)
        self._keyed.spare = self._spare_keyed
        self._reader.on_gone = self._keyed.on_gone = self.deliveries.on_gone = self._make_anew
        self.deliveries.on_fewer = self._ring
        self._is_reading = self._is_in_doubt = self._may_be_ours_again = False

    def _reader_at(self, incarnation: int) -> Reader:
        return Reader(self.name, self._bus.instance, incarnation)

    def _path(self, topic: str) -> str:
        """Where in a payload the key lies that orders a topic; "" where none does."""
        return self._rules(topic).order_by

    def _spare_keyed(self) -> int:
        """Who takes more than he can soon handle has keys in hand that others could handle."""
        workers = max((self._rules(topic).at_once for topic in self.topics if self._path(topic)), default=1)
        return min(ROOM - len(self.deliveries), max(LEAST, AHEAD * workers) - self.deliveries.busy)

    def _ring(self) -> None:
        self._reader.room.ring()
        self._keyed.room.ring()

    async def start(self) -> None:
        """Begin to read. Raises RedisError when Redis does not do its part; then call it again."""
        await self._find_topics()
        if (known := await self._newest_before()) >= self._me.incarnation:
            await self._heirs.renamed(self._reader_at(known + 1), self._bus.incarnation)
            self._join(known + 1)
        for kind in (KEPT, ENDED):
            self._bus.live.listen(self._bus.names.control(kind), self._heard)
        self.deliveries.start()
        self._watching = asyncio.create_task(self._watch(), name=f"group {self.name}")

    async def stop_reading(self) -> None:
        """Take nothing more; what is held can still be handled."""
        for kind in (KEPT, ENDED):
            self._bus.live.unlisten(self._bus.names.control(kind), self._heard)
        await end(self._watching)
        await self._stop_readers()

    async def _stop_readers(self) -> None:
        await asyncio.gather(self._reader.aclose(), self._keyed.aclose())

    async def _add(self, topics: list[str]) -> None:
        """Read these, too."""
        for reader, wants in ((self._reader, False), (self._keyed, True)):
            if own := [topic for topic in topics if bool(self._path(topic)) is wants]:
                reader.start()
                await reader.add(own)

    async def aclose(self) -> None:
        """Tell Redis what was handled, and say goodbye: others take over the rest. After ``stop_reading``."""
        if self._bus.outbox.link.is_up:
            await self.deliveries.settled()
            await self._put_back()
        await self.deliveries.aclose()
        if self._bus.outbox.link.is_up and not self.deliveries.is_taken:
            await self._heirs.leave(self._me)

    async def _put_back(self) -> None:
        """Others count no try that was to be one more, and was not begun."""
        rest = [one for one in self.deliveries.held() if one.counted > 1 and one.state is DeliveryState.WAITING]
        try:
            for one in rest if not self.deliveries.is_taken else ():
                await self._streams.put_back(one.topic, self._me, one.entry, one.number)
        except TakenOver:
            self.deliveries.let_go()
        except RedisError as error:
            log.debug("group %s: what was not begun counts: %s", self.name, error)

    def counted(self, wants: Callable[[str], bool]) -> Counted:
        """What became of the messages on the topics that somebody ``wants``."""
        tally = total(tally for topic, tally in self.tallies.items() if wants(topic))
        held = [one for one in self.deliveries.held() if wants(one.topic)]
        handling = [one for one in held if one.state is DeliveryState.HANDLING]
        parked = sum(one.state is DeliveryState.PARKED for one in held)
        return Counted(tally, len(held) + self.deliveries.untried(wants), parked, handling)

    def _heard(self, body: bytes) -> None:  # noqa: ARG002 - what it tells is looked up
        self._news.ring()

    async def _find_topics(self) -> list[str]:
        """Enter what we read, and return the topics that are new to us."""
        before = len(self.topics)
        node = self._bus.instance.rpartition(".")[0]
        for pattern, since in self.wanted.items():
            self.topics += await self._kept.read(self.name, pattern, since, self.topics, node=node)
        self._checked = asyncio.get_running_loop().time()
        return self.topics[before:]

    async def _make_anew(self) -> None:
        """Streams or groups were removed, and with them what was in them: begin with what is there now."""
        log.error("group %s: streams or groups were removed; it goes on with what is there", self.name)
        await self._find_topics()
        for topic in self.topics:
            await self._streams.join(topic, self.name, "0")

    # -- what others left

    async def _watch(self) -> None:
        is_news = False
        while True:
            try:
                await self._look(is_news or asyncio.get_running_loop().time() - self._checked > CHECK)
            except RedisError as error:
                self._is_in_doubt = True
                log.debug("group %s: %s", self.name, error)
            except Exception:
                log.exception("group %s", self.name)
            is_news = await self._news.wait(LOOK if self._is_reading else LOOK / 10)

    async def _look(self, is_news: bool) -> None:
        if self.deliveries.is_taken:
            await self._join_again()
        if is_news and (new := await self._find_topics()) and self._is_reading:
            await self._add(new)
        if self._gaps != (gaps := self._bus.outbox.link.gaps):
            self._gaps, self._may_be_ours_again = gaps, True
            self._heirs.start_afresh()
        await self._inherit()
        if not self._is_reading and not self.deliveries.inherits:  # what our last life left comes before what is new
            self._is_reading = True
            await self._add(self.topics)

    async def _inherit(self) -> None:
        others: defaultdict[Reader, list[str]] = defaultdict(list)
        for topic in self.topics:
            for reader in await self._streams.readers(topic, self.name):
                others[reader].append(topic)
        if mine := others.pop(self._me, None):
            await self._look_at_own(mine)
        for ended in await self._heirs.ended(self._me, list(others)) if others else ():
            await self._take_over(ended, others[ended])

    async def _look_at_own(self, topics: list[str]) -> None:
        """An answer was lost: what it gave us we hold without knowing. Or Redis came back with what it had before: then
        what we had acknowledged may be ours again, among what our reader has passed; what is behind that it asks for.
        """
        if not (self._is_in_doubt or self._may_be_ours_again):
            return
        for topic in topics:
            if self._path(topic):  # its reader knows better
                continue
            last = "+" if self._is_in_doubt else self._reader.passed(topic)
            self.deliveries.inherit(topic, await self._streams.held(topic, self._me, last))
        self._is_in_doubt = self._may_be_ours_again = False

    async def _take_over(self, ended: Reader, topics: list[str]) -> None:
        count, lease = 0, self._heirs.silent.get(ended)
        for topic in topics:
            if self._path(topic):
                count += len(await self._keyed.take_over(topic, ended, lease))
                continue
            while held := await self._streams.take_over(topic, self._me, ended, PORTION, lease):
                self.deliveries.inherit(topic, held)
                count += len(held)
        if count:
            log.warning("group %s: taken over from %s: %s", self.name, ended.consumer, amount(count, "message"))

    async def _join_again(self) -> None:
        """Others took over from us, because our lease had ended: go on as a new reader."""
        incarnation = max(int(await self._bus.now()), self._me.incarnation + 1, await self._newest_before() + 1)
        await self._heirs.renamed(self._reader_at(incarnation), self._bus.incarnation)
        await self._stop_readers()
        await self.deliveries.aclose()
        self._join(incarnation)
        self.deliveries.start()

    async def _newest_before(self) -> int:
        """The newest incarnation that is known of our instance, but for our own: it is newer than ours where Redis's
        clock was ahead in its time, and what counts for the dead would count for us.
        """
        found = [await self._heirs.said_goodbye(self._me)]
        for topic in self.topics:
            readers = await self._streams.readers(topic, self.name)
            theirs = [one.incarnation for one in readers if one.instance == self._me.instance and one != self._me]
            found += [await self._streams.fence(topic, self._me), *theirs]
        return max(filter(is_count, found), default=0)
