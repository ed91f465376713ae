"""The sending half of resolved patterns: says on which topics a process sends, and holds the first messages of each.

::

    first message on a topic ─► held ─► announced ─► all who match have subscribed (or HOLD is over) ─► released
                                  ▲          │
                                  └──────────┘ Redis went away meanwhile
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from ..bell import Bell
from ..burst import Burst
from ..bus.bus import Bus
from ..cancelling import end
from ..english import listed
from ..errors import RedisError, RedisUnavailable
from ..patterns import RESOLVED
from ..states import LinkState
from .directory import CHUNK, Directory
from .registry import TOPICS

log = logging.getLogger("hivemind.topics")

HOLD = 1.0  #: seconds after the first try to announce it that the messages of a topic are held at the most
POLL = 0.01  #: seconds between two looks at how far those are who are waited for
RETRY = 0.1  #: seconds between two tries while Redis refuses, or does not answer
CHECK = 15.0  #: seconds between two looks whether the directory still has what was announced
MODE_CHECK = 5.0  #: seconds between two looks of who is in no registry whether the hive has begun to resolve


@dataclass(slots=True)
class Wait:
    """For whom the messages of one topic are held, and until when on the monotonic clock."""

    version: int
    until: float
    instances: set[str]


class Waiting:
    """Topics that were announced and for which somebody has yet to subscribe; none waits longer than HOLD in all."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._waits: dict[str, Wait] = {}
        self._since: dict[str, float] = {}  # of each topic that is held, when announcing it was first tried
        self.newest = 0

    def __bool__(self) -> bool:
        return bool(self._waits)

    async def announce(self, topics: Sequence[str], *, is_first: bool = False) -> None:
        """Add topics to the directory, and wait for those who resolve them. Raises RedisError."""
        for start in range(0, len(topics), CHUNK):
            chunk = topics[start : start + CHUNK]
            version = await self.enter(chunk, is_first=is_first)
            self.hold(chunk)
            for topic, instances in (await self._directory.resolvers(chunk)).items():
                self._waits[topic] = Wait(version, self._since[topic] + HOLD, instances)

    async def enter(self, topics: Sequence[str], *, is_first: bool = False) -> int:
        """Add topics to the directory, and return the version in which they are. Raises RedisError."""
        version = await self._directory.announce(topics, self.newest, is_first=is_first)
        self.newest = max(self.newest, version)
        return version

    def hold(self, topics: Iterable[str]) -> None:
        """From now on, at the latest, their time runs."""
        now = time.monotonic()
        for topic in topics:
            self._since.setdefault(topic, now)

    def overdue(self) -> list[str]:
        """The topics whose time is over. They are forgotten here."""
        limit = time.monotonic() - HOLD
        return self._forget([topic for topic, since in self._since.items() if since <= limit])

    def begin_anew(self) -> None:
        """Nothing could be announced or sent: the time of what is held has yet to begin."""
        self._since.clear()

    def _forget(self, topics: list[str]) -> list[str]:
        for topic in topics:
            self._since.pop(topic, None)
        return topics

    async def ready(self) -> list[str]:
        """The topics for which nobody is waited any more; they are forgotten here. Raises RedisError."""
        awaited = sorted({instance for wait in self._waits.values() for instance in wait.instances})
        reported = await self._directory.reported(awaited) if awaited else {}
        now, done = time.monotonic(), []
        for topic, wait in self._waits.items():
            wait.instances = {one for one in wait.instances if reported.get(one, wait.version) < wait.version}
            if not wait.instances or now >= wait.until:
                done.append(topic)
        late = {instance for topic in done for instance in self._waits.pop(topic).instances}
        if late:
            log.warning("messages on new topics waited long enough for %s, who may miss them", listed(sorted(late)))
        return self._forget(done)

    def take_back(self) -> list[str]:
        """Wait for nobody, and return the topics: they are to be announced again."""
        topics, self._waits = list(self._waits), {}
        return topics


async def announce(directory: Directory, topics: Sequence[str]) -> None:
    """Announce topics for somebody else, and return when all who resolve them have subscribed, or HOLD is over.

    Raises RedisError.
    """
    waiting = Waiting(directory)
    await waiting.announce(topics)
    await waiting.ready()
    while waiting:
        await asyncio.sleep(POLL)
        await waiting.ready()


class Announcer:
    """Announces the topics of one process, from ``start`` to ``stop``, on the loop; ``is_new`` is for any thread."""

    def __init__(self, bus: Bus, directory: Directory) -> None:
        self._bus, self._directory = bus, directory
        self._waiting = Waiting(directory)
        self._known: dict[str, bool] = {}  # all topics ever sent on, and whether messages on it were let go
        self._fresh: list[str] = []  # those that are held and not announced
        self._is_told = self._is_due = False
        self._checked = 0.0  # when the directory was last found to have what was announced
        self._hinted: set[str] = set()  # topics that Redis refused, and of which we told ourselves
        self._refusals, self._faults = Burst(60.0), Burst(60.0)
        self._bell = Bell()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, topics: Iterable[str] = ()) -> None:
        """Begin to announce: ``topics`` and those that were used already now, others when they are first used."""
        self._loop = asyncio.get_running_loop()
        self._bus.spread()
        spool = self._bus.outbox.spool
        spool.on_new = self._enter  # before one looks which there are already: threads may send meanwhile
        used = [topic for topic in spool.topics() if self._enter(topic)]
        self._known |= dict.fromkeys(used, True)
        spool.hold([*used, *(topic for topic in topics if self._enter(topic))])
        self._checked = time.monotonic()
        self._bell.ring()
        self._task = asyncio.create_task(self._run(), name="announcer")

    async def start_if_resolved(self, started: Callable[[], None]) -> None:
        """As ``start``, for who is in no registry: now, or as soon as the hive is found to resolve its patterns.

        Then ``started`` is called.
        """
        if await self._is_resolved():
            self.start()
            started()
        else:
            self._bus.live.listen(self._bus.names.control(TOPICS), self._heard)
            self._task = asyncio.create_task(self._watch(started), name="announcer")

    async def stop(self) -> None:
        """Announce no more; what is held is released. May be called twice."""
        self._bus.outbox.spool.on_new = None
        await end(self._task)
        self._bus.release([*self._fresh, *self._waiting.take_back()])
        self._fresh = []

    def look(self) -> None:
        """Look now whether the directory still has our topics: connections were made anew."""
        self._is_due = True
        self._bell.ring()

    def again(self) -> None:
        """Redis has lost its data: announce all topics once more."""
        self.look()

    def _enter(self, topic: str) -> bool:
        """Whether a topic is new, and is to be held until it is announced. On any thread, one at a time."""
        if topic in self._known:
            return False
        self._known[topic] = False
        self._fresh.append(topic)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody sends any more
                self._loop.call_soon_threadsafe(self._bell.ring)
        return True

    # -- the work

    async def _run(self) -> None:
        while True:
            await self._bell.wait(POLL if self._waiting else RETRY if self._fresh else CHECK)
            await self._bus.outbox.link.wait(LinkState.UP)
            try:
                await self._look()
            except RedisError as error:
                self._failed(error)
            except Exception as error:
                if self._faults.first() is not None:
                    log.exception("a fault of ours; announcing is tried again")
                self._failed(error)

    async def _look(self) -> None:
        """Announce what is new, then what has to be announced once more, and release what nobody waits for."""
        fresh = list(self._fresh)
        await self._waiting.announce([topic for topic in fresh if not self._known[topic]], is_first=True)
        await self._waiting.announce([topic for topic in fresh if self._known[topic]])
        del self._fresh[: len(fresh)]
        if self._waiting:
            self._release(await self._waiting.ready())
        if not self._waiting and (self._is_due or time.monotonic() >= self._checked + CHECK):
            self._is_due = False
            await self._announce_again()
            self._checked = time.monotonic()

    async def _announce_again(self) -> None:
        """Announce what was announced before, and is missing: Redis may have lost it, or anybody removed it."""
        known = [topic for topic, is_let_go in self._known.copy().items() if is_let_go]
        for start in range(0, len(known), CHUNK):
            if missing := await self._directory.missing(known[start : start + CHUNK]):
                await self._waiting.enter(missing)

    def _release(self, topics: list[str]) -> None:
        self._known |= dict.fromkeys(topics, True)
        self._hinted.difference_update(topics)
        self._bus.release(topics)

    def _failed(self, error: Exception) -> None:
        """While messages can be sent at all, no failure to announce may hold them for longer than HOLD."""
        self._is_due = True
        self._fresh += self._waiting.take_back()
        if isinstance(error, RedisUnavailable) and not self._bus.outbox.link.is_up:
            log.debug("topics are not announced: %s", error)
            self._waiting.begin_anew()
            self._hinted.clear()
        else:
            self._hint(error)

    def _hint(self, error: Exception) -> None:
        """Tell of the topics without the directory, and let their messages go when HOLD is over."""
        new = [topic for topic in dict.fromkeys(self._fresh) if topic not in self._hinted]
        self._hinted.update(new)
        self._waiting.hold(new)
        for start in range(0, len(new), CHUNK):
            chunk = new[start : start + CHUNK]
            notice = {"first": not any(self._known[topic] for topic in chunk), "topics": chunk}
            self._bus.notify(TOPICS, notice)
        done = {*self._waiting.overdue()}
        if done and self._refusals.first() is not None:
            log.error("our topics cannot be announced, who subscribes later will not find them: %s", error)
        count = len(self._fresh)  # threads append to it at any time
        self._fresh[:count] = [topic for topic in self._fresh[:count] if topic not in done]
        self._release(sorted(done))

    # -- for who is in no registry

    async def _is_resolved(self) -> bool:
        with suppress(RedisError):
            return await self._directory.mode() == RESOLVED
        return False

    async def _watch(self, started: Callable[[], None]) -> None:
        channel = self._bus.names.control(TOPICS)
        await self._bus.live.answered_for({channel.encode()})
        while not (self._is_told or await self._is_resolved()):
            await self._bell.wait(MODE_CHECK)
        self._bus.live.unlisten(channel, self._heard)
        self.start()
        started()

    def _heard(self, notice: bytes) -> None:
        with suppress(ValueError, TypeError, AttributeError):
            self._is_told = orjson.loads(notice).get("patterns") == RESOLVED
            self._bell.ring()
