"""Watches the registry: one poller, however many look on. Holds nothing that any node needs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..cancelling import end
from ..data.records import Instance, Stats
from ..errors import HivemindError
from .durable import DurableView
from .past import Step
from .recorder import Recorder
from .snapshot import InstanceView, Snapshot, nodes_of, view_of
from .state import State

log = logging.getLogger(__name__)

WINDOW = 10.0
"""Over how many seconds of beats a rate is taken: a service that sends every 5 s must not flicker."""
GATHER = 0.05
"""How long a notice waits for others before the registry is read, in seconds."""
SHARE = 35.0
"""How many times the CPU that a reading took is rested after it: a large hive is read more seldom. Together
with the pages that show it that stays below a twentieth of a core."""
TOLD_SHARE = 10.0
"""The same after a reading of those only who were told of: what happens is to be seen at once."""
LONGEST = 15.0
"""Seconds between two readings of the largest hive."""
MOST = 50
"""Instances that are read alone when they are told of; where more are, all are read."""


class Source(Protocol):
    """Where it looks: the registry and the streams, or a list in a test. Raises RedisError when Redis is away."""

    async def instances(self) -> list[Instance]:
        """Everybody registered, lost ones included."""

    async def those(self, instances: Collection[str]) -> list[Instance]:
        """Of these, those that are registered."""

    async def durable(self, instances: Sequence[Instance]) -> DurableView:
        """Kept topics, their groups, and what there is to say of them."""

    async def state(self, instances: Sequence[Instance]) -> State:
        """What should run, and what else is to be known to judge that."""

    async def past(self, finished: Sequence[Step]) -> Sequence[Step]:
        """Keep these steps; those that have become known since it was last asked, whoever wrote them. Raises nothing
        where they cannot be kept: then there are none.
        """

    def silence(self) -> str:
        """Why Redis does not answer, and what becomes of that; "" where it cannot be seen."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What an instance said at one beat; ``at`` is when, in seconds by Redis's clock."""

    at: float
    stats: Stats


def beat_of(instance: Instance) -> Beat | None:
    """The last beat of a living instance: its lease ends one lease after it. None for a lost one."""
    if instance.expires is None:
        return None
    return Beat(instance.expires - instance.about.lease, instance.stats)


class Track:
    """The recent beats of one incarnation: enough for its rates, and for what to show when it is lost."""

    __slots__ = ("beats", "last")

    def __init__(self, last: Instance) -> None:
        self.last = last
        self.beats: deque[Beat] = deque()

    def follow(self, instance: Instance) -> None:
        """Take one more reading of the same incarnation."""
        beat = beat_of(instance)
        if beat is None:
            return
        self.last = instance
        if self.beats and beat.at < self.beats[-1].at:
            self.beats.clear()  # Redis's clock was set back
        if self.beats and beat.at == self.beats[-1].at:
            self.beats.pop()  # the counters of a beat are written just after it
        self.beats.append(beat)
        while len(self.beats) > 2 and beat.at - self.beats[1].at >= WINDOW:
            self.beats.popleft()

    @property
    def view(self) -> InstanceView:
        """The instance as it was last seen alive, with its rates over the window."""
        if not self.beats:
            return view_of(self.last)
        older, newer = self.beats[0], self.beats[-1]
        seconds = newer.at - older.at
        return view_of(self.last, newer.at, older.stats if seconds > 0 else None, seconds)


class History:
    """What was seen of everybody who is still registered."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}

    def follow(self, instances: list[Instance]) -> tuple[InstanceView, ...]:
        """Take one reading of the registry; forget whoever is no longer in it."""
        self._tracks = {one.instance: self._track(one) for one in instances}
        return tuple(self._view(one) for one in instances)

    def _track(self, instance: Instance) -> Track:
        track = self._tracks.get(instance.instance)
        if track is None or (not instance.is_lost and track.last.incarnation != instance.incarnation):
            track = Track(instance)
        track.follow(instance)
        return track

    def _view(self, instance: Instance) -> InstanceView:
        track = self._tracks[instance.instance]
        if instance.is_lost:
            return view_of(replace(track.last, expires=None), track.beats[-1].at if track.beats else None)
        return track.view


class Monitor:
    """Reads ``source`` every ``every`` seconds, and at once after ``notice()``; tells all who follow.

    ``spent`` says how much CPU this thread has used, in seconds: the more a reading takes, the more seldom it is done.
    Who is told of is read alone: of a large hive that is done at once, when the whole of it has to wait.
    When Redis does not answer, the last known picture stays and says since when. ``run`` returns after
    ``close``, which may be called twice and ends every ``updates`` too.
    """

    def __init__(
        self,
        source: Source,
        hive: str,
        redis: str,
        *,
        every: float = 2.0,
        clock: Callable[[], float] = time.time,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._source, self._every, self._clock, self._spent = source, every, clock, spent
        self._history, self._recorder = History(), Recorder()
        self._listed: list[Instance] = []
        self._told = set[str]()
        self._noticed = asyncio.Event()
        self._changed = asyncio.Event()
        self._closed = False
        self._ending = asyncio.Event()
        self.snapshot = Snapshot(hive, redis)

    def notice(self, instance: str = "") -> None:
        """That instance changed, or anything (""): read it now rather than at the next beat. On the loop only."""
        self._told.add(instance if len(self._told) < MOST else "")
        self._noticed.set()

    async def run(self) -> None:
        """Poll until closed."""
        now = asyncio.get_running_loop().time
        while not self._closed:
            self._take()
            rest = await self._read()
            earliest, due = now() + rest, now() + max(self._every, rest)
            while not self._closed and now() < due:
                await _within(due - now(), self._noticed)
                await _within(min(GATHER, max(0.0, due - now())), self._ending)
                told = self._take()
                if "" in told or (told and self._is_blind):
                    due = earliest
                elif told:
                    await _within(await self._read(told), self._ending)

    async def updates(self) -> AsyncIterator[Snapshot]:
        """The present snapshot, then each newer one until closed. Who is slow sees the newest only: nothing queues."""
        while not self._closed:
            changed = self._changed
            yield self.snapshot
            await changed.wait()

    async def first(self, within: float) -> Snapshot:
        """The present snapshot; while nothing is known yet, the first in which something is, if it comes in so long."""
        changed = self._changed
        if self.snapshot.read_at is None and self.snapshot.silent_since is None:
            await _within(within, changed)
        return self.snapshot

    @property
    def is_closed(self) -> bool:
        """Whether it looks no more."""
        return self._closed

    def close(self) -> None:
        """End ``run`` and every ``updates``."""
        self._closed = True
        self._ending.set()
        self._noticed.set()
        self._changed.set()

    @property
    def _is_blind(self) -> bool:
        return self.snapshot.read_at is None or self.snapshot.silent_since is not None

    def _take(self) -> set[str]:
        """Who was told of since it was last asked."""
        told, self._told = self._told, set()
        self._noticed.clear()
        return told

    async def _read(self, told: Collection[str] = ()) -> float:
        """Read all, or who was told of; return the seconds to rest then."""
        began, asked = self._spent(), self._clock()
        reading = asyncio.ensure_future(self._look(told))
        try:
            done, _ = await asyncio.wait({reading}, timeout=self._every)
            if not done:
                self._silent(asked)
            self._answered(*await reading)
        except HivemindError as error:
            log.debug("the registry could not be read: %s", error)
            self._silent(asked)
        except Exception:
            if self.snapshot.silent_since is None:
                log.exception("the registry could not be read")
            self._silent(asked)
        finally:
            await end(reading)
        return min(LONGEST, max(GATHER, (TOLD_SHARE if told else SHARE) * (self._spent() - began)))

    async def _look(self, told: Collection[str]) -> tuple[list[Instance], DurableView, State, Sequence[Step]]:
        if told:
            others = [one for one in self._listed if one.instance not in told]
            instances = [*others, *await self._source.those(told)]
        else:
            instances = await self._source.instances()
        durable, state = await self._source.durable(instances), await self._source.state(instances)
        return instances, durable, state, await self._source.past(self._recorder.take())

    def _answered(self, instances: list[Instance], durable: DurableView, state: State, kept: Sequence[Step]) -> None:
        before, self._listed = self.snapshot, instances
        if before.silent_since is not None:
            log.info("Redis answers again")
        nodes = nodes_of(self._history.follow(instances))
        after = replace(
            before, read_at=self._clock(), silent_since=None, why="", nodes=nodes, durable=durable, state=state
        )
        self._publish(after.with_past(self._recorder.follow(before, after, kept)))

    def _silent(self, asked: float) -> None:
        if self.snapshot.silent_since is None:
            log.warning("Redis does not answer; the page shows what was last known")
        since = asked if self.snapshot.silent_since is None else self.snapshot.silent_since
        self._publish(replace(self.snapshot, silent_since=since, why=self._source.silence()))

    def _publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if self._closed:
            self._changed.set()


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait for ``event``, for so long at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
