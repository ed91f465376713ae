"""Where a monitor looks: a hive's Redis, and the hived of its host."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from ..bus.bus import Bus
from ..data.durability import durability
from ..data.records import Instance
from ..data.registry import Abouts, Registry
from ..errors import RedisRefused
from ..settings import Settings
from ..supervisor.own_redis import why_away
from .chronicle import Chronicle
from .declared import Declared, declared
from .durable import DurableView, Growth
from .past import Step
from .state import State, said_by_redis

log = logging.getLogger(__name__)

EVERY = 4.0  #: seconds between two looks at all streams, and two questions to hived
PATIENCE = 1.0  #: seconds that a picture waits for what hived says; then it shows what that said before
BEATS = 0.5  #: of HEARTBEAT that it waits at the most: what takes a whole one is taken for a Redis that does not answer


class Asked:
    """What should run, as hived said it last. A thread asks, and nobody waits for it: where supervisord stands still an
    answer takes as long as it takes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._patience = min(PATIENCE, BEATS * settings.constants.HEARTBEAT)
        self.said = Declared()
        self._answered = asyncio.Event()
        self._answered.set()

    async def ask(self) -> None:
        """Ask, unless it has yet to answer, and wait for PATIENCE at the most."""
        if self._answered.is_set():
            self._answered.clear()
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._ask, args=(loop,), name="hived is asked", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._answered.wait()

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            said = declared(self._settings)
        except Exception:
            log.exception("what should run cannot be known")
            said = self.said
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(self._told, said)

    def _told(self, said: Declared) -> None:
        self.said = said
        self._answered.set()


class HiveSource:
    """The registry, and now and then the streams and hived. Raises RedisError."""

    def __init__(
        self, bus: Bus, registry: Registry, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus, self._registry, self._settings, self._clock = bus, registry, settings, clock
        self._growth, self._last, self._due = Growth(), DurableView(), 0.0
        self._hived, self._state, self._asked = Asked(settings), State(), -math.inf
        self._lives: dict[str, tuple[int, bool]] = {}
        self._abouts = Abouts()
        self._chronicle = Chronicle(bus.commands, bus.names)

    async def instances(self) -> list[Instance]:
        """Everybody who is registered, lost ones included."""
        return await self._registry.instances(known=self._abouts)

    async def those(self, instances: Collection[str]) -> list[Instance]:
        """Of these, those that are registered."""
        return await self._registry.those(instances)

    async def durable(self, instances: Sequence[Instance]) -> DurableView:
        """Durable delivery as it was a few seconds ago at the most."""
        now = self._clock()
        if now >= self._due:
            try:
                state = await durability(self._bus.streams, instances)
            except RedisRefused as error:  # the registry can be read all the same
                log.debug("the streams could not be read: %s", error)
                return self._last
            groups = [group for topic in state.topics for group in topic.groups]
            self._last = DurableView(state, self._growth.follow(now, groups))
            self._due = now + EVERY
        return self._last

    async def state(self, instances: Sequence[Instance]) -> State:
        """What should run, and what else is to be known to judge that, as it was a few seconds ago at the most."""
        now, lives = self._clock(), {one.instance: (one.incarnation, one.is_lost) for one in instances}
        if now - self._asked >= EVERY or lives != self._lives:
            self._asked, self._lives = now, lives
            self._state = await said_by_redis(self._bus.commands, instances)
            await self._hived.ask()
        return replace(self._state, should=self._hived.said)

    def silence(self) -> str:
        """What can be seen of the hive's own Redis on this machine; "" of one elsewhere."""
        return why_away(self._settings)

    async def past(self, finished: Sequence[Step]) -> Sequence[Step]:
        """Keep these steps; those that have become known."""
        return await self._chronicle.keep(finished)
