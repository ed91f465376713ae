"""Fills the holes of a process's live subscriptions from the streams of topics that are kept.

One fill is under way for a topic at a time: it reads back from the newest entry until all holes that there were when it
began are full. Holes that come meanwhile are for the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set

from ..burst import Burst
from ..cancelling import end
from ..english import amount
from ..errors import RedisError, RedisUnavailable
from ..message import Malformed, decode, is_envelope
from ..topics import matches
from .holes import Hole, Place
from .live import Live
from .receiving import LiveSubscription
from .rereading import Rereading

log = logging.getLogger("hivemind.live")

PATIENCE = 10.0  #: seconds for which Redis may be away while holes are to be filled; then they are gaps
RETRY = 0.1  #: seconds between two tries
KNOWING = 1.0  #: seconds that one waits to learn which topics are kept
MOST_TOPICS = 1_000_000  #: that are taken for kept because a notice says so
AT_ONCE = 2  #: fills under way: nobody else's commands may have to wait for many


class KeptTopics:
    """The topics that are kept, as far as known; all of them may be while nobody is ``sure``."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.sure = asyncio.Event()

    def __contains__(self, topic: object) -> bool:
        return topic in self.topics or not self.sure.is_set()

    def set(self, topics: Iterable[str]) -> None:
        """Say which there are."""
        self.topics = set(topics)
        self.sure.set()

    def add(self, topic: str) -> None:
        """Say of one more, which may be hearsay: there is a limit to that."""
        if len(self.topics) < MOST_TOPICS:
            self.topics.add(topic)

    async def known(self) -> Set[str]:
        """The topics, once somebody is sure, or after a while."""
        try:
            async with asyncio.timeout(KNOWING):
                await self.sure.wait()
        except TimeoutError:
            log.debug("nobody knows which topics are kept")
        return self.topics


class Filler:
    """Fills holes, and lets subscriptions begin with what is there. ``kept`` is to be kept up to date by somebody."""

    def __init__(self, rereading: Rereading, live: Live) -> None:
        self.kept = KeptTopics()
        self._rereading, self._live = rereading, live
        self._holes: defaultdict[str, list[tuple[LiveSubscription, Hole]]] = defaultdict(list)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._sweeping: asyncio.Task[None] | None = None
        self._news = Burst()

    async def aclose(self) -> None:
        """Fill nothing more. May be called twice."""
        for task in [*self._tasks.values(), self._sweeping]:
            await end(task)

    # -- holes

    def fill(self, subscription: LiveSubscription, hole: Hole) -> None:
        """Fill a hole as soon as may be, and settle it in any case."""
        self._holes[hole.topic].append((subscription, hole))
        if hole.topic not in self._tasks:
            self._tasks[hole.topic] = asyncio.create_task(self._run(hole.topic), name=f"fill {hole.topic}")

    async def _run(self, topic: str) -> None:
        try:
            while holes := self._holes.pop(topic, None):
                try:
                    await self._fill(topic, holes)
                except Exception:
                    log.exception("a fault of ours; %s is not filled", topic)
                for subscription, hole in holes:
                    subscription.settle(hole)
                if (held := self._news.first()) is not None:
                    _tell(topic, [hole for _, hole in holes], self._news.more(held))
        finally:
            del self._tasks[topic]

    async def _fill(self, topic: str, holes: list[tuple[LiveSubscription, Hole]]) -> None:
        if topic not in await self.kept.known():
            return
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                async with self._room:
                    await self._read(topic, Wanted(holes))
                return
            except RedisError as error:
                if not isinstance(error, RedisUnavailable) or asyncio.get_running_loop().time() > deadline:
                    log.error("%s cannot be read, what did not come of it is missed: %s", topic, error)
                    return
            await asyncio.sleep(RETRY)

    async def _read(self, topic: str, wanted: Wanted) -> None:
        wanted.limit(await self._rereading.places_of(topic, wanted.senders))
        if not wanted:
            return
        async for portion in self._rereading.back(topic, wanted.after):
            for body in portion:
                wanted.offer(body)
            if not wanted:
                return

    # -- what was sent while nobody heard it

    async def begin(self, subscription: LiveSubscription, now: float) -> None:
        """Let a subscription begin that Redis has confirmed ``now``, in unix milliseconds by its clock."""
        if subscription.is_begun:
            return
        deadline = asyncio.get_running_loop().time() + PATIENCE
        history: list[tuple[str, bytes]] = []
        places: list[tuple[str, str, Place]] = []
        while asyncio.get_running_loop().time() < deadline:
            gaps = self._live.gaps
            topics = sorted(topic for topic in await self.kept.known() if matches(subscription.pattern, topic))
            try:
                history = [one for topic in topics for one in await self._since(topic, subscription)]
                places = await self._rereading.places(topics)
            except RedisUnavailable as error:
                log.debug("%s begins later: %s", subscription.pattern, error)
                await asyncio.sleep(RETRY)
                continue
            except RedisError as error:
                log.error("%s begins without what is kept: %s", subscription.pattern, error)
                break
            if not topics or (await self._live.fence() and self._live.gaps == gaps):
                break
        subscription.begin(history, places, self.fill, self.kept, now)

    async def _since(self, topic: str, subscription: LiveSubscription) -> list[tuple[str, bytes]]:
        if subscription.since == "new":
            return []
        bodies = await self._rereading.since(topic, subscription.since, subscription.limits)
        return [(topic, body) for body in bodies]

    def lost(self) -> None:
        """A connection was lost: any topic may be kept by the time that it is made again, and who has yet to begin has
        heard nothing.
        """
        self.kept.sure.clear()
        for subscription in self._live.subscriptions:
            subscription.begin_again()

    def catch_up(self) -> None:
        """A connection was made anew: find what was sent meanwhile, also by those who will send nothing more."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._sweeping = asyncio.create_task(self._sweep(), name="catch up with kept topics")

    async def _sweep(self) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            try:
                topics = sorted(topic for topic in await self.kept.known() if self._live.of(topic))
                places = await self._rereading.places(topics)
            except RedisError as error:
                log.debug("cannot catch up yet: %s", error)
                await asyncio.sleep(RETRY)
                continue
            if topics and await self._live.fence():  # else there will be another sweep
                self._enter(places)
            return

    def _enter(self, places: Sequence[tuple[str, str, Place]]) -> None:
        for topic, sender, place in places:
            for subscription in self._live.of(topic):
                if subscription.is_begun:
                    subscription.ledger.catch_up(topic, sender, place)


class Wanted:
    """Holes of one topic, while its stream is read back."""

    def __init__(self, holes: Sequence[tuple[LiveSubscription, Hole]]) -> None:
        self._stacks: defaultdict[str, list[tuple[LiveSubscription, list[Hole]]]] = defaultdict(list)
        by_reader: defaultdict[tuple[str, LiveSubscription], list[Hole]] = defaultdict(list)
        for subscription, hole in holes:
            hole.found.clear()  # of an earlier try
            by_reader[hole.sender, subscription].append(hole)
        for (sender, subscription), stack in by_reader.items():
            self._stacks[sender].append((subscription, sorted(stack, key=lambda hole: hole.first)))
        self.after = int(min(hole.after for _, hole in holes))
        self._messages = max(subscription.limits.messages for subscription, _ in holes)
        self._size = max(subscription.limits.size for subscription, _ in holes)

    def __bool__(self) -> bool:
        return bool(self._stacks) and self._messages > 0 and self._size > 0

    @property
    def senders(self) -> list[str]:
        """Whose messages are wanted."""
        return list(self._stacks)

    def limit(self, places: dict[str, Place]) -> None:
        """Want only what may be there, now that we know how far each sender has appended."""
        for sender in self.senders:
            place = places.get(sender)
            for _, stack in self._stacks[sender]:
                stack[:] = [hole for hole in stack if place is not None and place >= hole.first]
            self._tidy(sender)

    def offer(self, body: bytes) -> None:
        """The next older message of the topic."""
        if not self:
            return
        try:
            value = decode(body)
        except Malformed:
            return
        if not is_envelope(value) or (readers := self._stacks.get(value["n"])) is None:
            return
        place, is_done = (value["e"], value["s"]), False
        for subscription, stack in readers:
            while stack and place < stack[-1].first:
                stack.pop()
            if stack and place <= stack[-1].last:
                self._size -= subscription.take(stack[-1], place, body)
                self._messages -= 1
                if place == stack[-1].first:
                    stack.pop()
            is_done = is_done or not stack
        if is_done:
            self._tidy(value["n"])

    def _tidy(self, sender: str) -> None:
        left = [one for one in self._stacks[sender] if one[1]]
        if left:
            self._stacks[sender] = left
        else:
            del self._stacks[sender]


def _tell(topic: str, holes: Sequence[Hole], more: str) -> None:
    count = sum(len(hole.found) for hole in holes)
    if count:
        log.info("%s: %s that did not come, filled in from what is kept%s", topic, amount(count, "message"), more)
