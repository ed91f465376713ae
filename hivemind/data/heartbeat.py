"""The heart of an instance: says every beat that it lives, and notices when it may no longer speak.

A beat is two commands: a function that lengthens the lease and writes the counters, also when Redis is out of memory,
and a message that says what was sent last. They leave side by side, unless the lease may have ended. It is also what
keeps both links from asking whether Redis is there: the one hears that the message was taken, the other hears the
message. A function that finds nothing means that Redis lost its data: the same life is registered again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from ..bell import Bell
from ..burst import Burst
from ..bus.bus import Bus
from ..cancelling import end
from ..errors import Fenced, HivemindError, LayoutMismatch, RedisError, RedisRefused, RedisUnavailable
from .records import About, Stats
from .registry import Registry

log = logging.getLogger("hivemind.heartbeat")

PAUSE = 0.1  #: seconds between two beats, at least


class Heart:
    """Keeps one registered instance alive in the registry until ``stop``.

    ``confirmed`` is when Redis last agreed that we live, by the loop's clock; when that is longer ago than a
    lease, messages wait in the outbox until the registry has been asked whose turn it is. ``on_fenced`` is called
    once, when somebody newer has it, or a newer version the hive; ``on_again`` whenever Redis had lost us and we are
    registered anew.
    """

    def __init__(
        self,
        bus: Bus,
        registry: Registry,
        about: About,
        stats: Callable[[], Stats],
        on_fenced: Callable[[HivemindError], None],
        on_again: Callable[[], None],
    ) -> None:
        self._time = asyncio.get_running_loop().time  # so that it stands still, or runs, where the loop does
        self.confirmed = self._time()
        self.period = about.lease / 3
        self._bus, self._registry, self._about, self._stats = bus, registry, about, stats
        self._on_fenced, self._on_again = on_fenced, on_again
        self._now = Bell()
        self._untold: list[Callable[[], None]] = []
        self._faults = Burst(60.0)
        self._task: asyncio.Task[None] | None = None

    def start(self, period: float) -> None:
        """Beat every ``period`` seconds, give or take a fifth, from now on."""
        self.period = period
        self._bus.outbox.guard = self.may_speak
        self._bus.live.listen(self._bus.names.beat(self._bus.instance), _hear)
        self._bus.outbox.on_up = self._now.ring
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """Beat no more. May be called twice."""
        self._bus.outbox.on_up = None
        await end(self._task)
        self._bus.outage.forget(self)

    def may_speak(self) -> bool:
        """Whether the lease is surely still ours."""
        return self._time() - self.confirmed < self._about.lease

    def beat_now(self, then: Callable[[], None] | None = None) -> None:
        """Do not wait for the next beat: something changed that others should see. ``then`` is called when they can."""
        if then is not None:
            self._untold.append(then)
        self._now.ring()

    async def _run(self) -> None:
        while True:
            began = self._time()
            try:
                await self.beat()
            except (Fenced, LayoutMismatch) as error:
                self._on_fenced(error)
                return
            except RedisError as error:
                log.debug("no beat: %s", error)
                self._pause(error)
            except Exception:
                if self._faults.first() is not None:
                    log.exception("%s: a fault of ours; the next beat is tried all the same", self._bus.instance)
            took = self._time() - began  # of a Redis that is slow: its next beat is not later for that
            await self._now.wait(max(PAUSE, self.period * random.uniform(0.8, 1.2) - took))

    def _pause(self, error: RedisError) -> None:
        """Nothing is sent any more when the lease may have ended."""
        if not self.may_speak():
            what = f"{self._bus.instance} could not renew its lease of {self._about.lease:g} s, and sending pauses"
            self._bus.outage.failed(self, type(error)(f"{what}: {error}"))

    async def beat(self) -> None:
        """One beat. Raises Fenced when a newer life is registered, RedisError when Redis did not answer."""
        asked, told = self._time(), len(self._untold)
        is_late = not self.may_speak()
        is_told = not is_late and self._bus.outbox.link.is_up
        if is_told:  # without waiting for the answer about the lease: Redis and we wake up once for both
            await self._bus.tell_last()
        if not await self._renew():
            why = "the lease ended meanwhile, or Redis lost its data" if is_late else "Redis lost its data"
            log.warning("%s: %s; registering again", self._bus.instance, why)
            await self._registry.register_again(self._bus.instance, self._bus.incarnation, self._about, self._stats())
            self._on_again()
        self.confirmed = asked
        self._bus.outage.back(self)
        self._bus.outbox.resume()
        if self._bus.keeping is not None:
            self._bus.keeping.resume()
        if not is_told:
            await self._bus.tell_last()
        for each in self._untold[:told]:
            self._untold.remove(each)
            each()

    async def _renew(self) -> bool:
        """Lengthen the lease; False when the registry knows nothing of this life."""
        bus = self._bus
        try:
            return await self._registry.renew(bus.instance, bus.incarnation, self._about.lease, self._stats())
        except RedisRefused:  # its disk is full: it writes nothing for anybody, so nobody can have replaced us
            newest = await self._registry.newest(bus.instance)
            if newest > bus.incarnation:
                raise Fenced(bus.instance, bus.incarnation, newest) from None
            return True
        except RedisUnavailable:
            if bus.endpoint.is_cluster and bus.outbox.link.is_up and await self._registry.is_halted():
                return True  # the same: nobody can have replaced us
            raise


def _hear(beat: bytes) -> None:
    """One's own beat: that it came is all that it says."""
