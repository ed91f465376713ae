"""The receiving half of resolved patterns: holds exact topics, and learns of new ones from the directory."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

import orjson

from ..bell import Bell
from ..bus.bus import Bus
from ..bus.receiving import LiveSubscription
from ..cancelling import end
from ..errors import RedisError
from ..topics import is_topic
from .directory import Directory
from .registry import TOPICS

log = logging.getLogger("hivemind.topics")

CHECK = 15.0  #: seconds between two looks at the directory without a notice: one may have been lost
PATIENCE = 1.0  #: seconds for which Redis may take its time to subscribe: nobody waits for us for longer
RETRY = 0.1  #: seconds between two tries while Redis refuses, or does not answer


class Say(Protocol):
    """Tells others up to which version we have subscribed, and what we resolve."""

    async def __call__(self, version: int, patterns: list[str] | None = None) -> bool:
        """False if nobody may hear it now, or has to hear what we resolve first."""


class Resolver:
    """Resolves the patterns of one process, from ``start`` to ``stop``. All of it on the loop.

    One look does it all: enter the patterns, read the topics that are new, subscribe, and when Redis has confirmed
    that say so. Whatever comes meanwhile, patterns, notices, a new connection, is for the next look.
    """

    def __init__(self, bus: Bus, directory: Directory, say: Say) -> None:
        self._bus, self._directory, self._say = bus, directory, say
        self._version = 0  # of the directory, up to which all our patterns have their topics
        self._entered: list[str] | None = None  # the patterns that others see
        self._gaps = -1
        self._is_listening = False
        self._hinted: set[bytes] = set()  # channels that came with notices
        self._waiters: list[asyncio.Future[None]] = []
        self._bell = Bell()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. Nothing is asked of Redis as long as there is nothing to resolve."""
        self._task = asyncio.create_task(self._run(), name="resolver")

    async def stop(self) -> None:
        """End; what is subscribed to stays. May be called twice."""
        await end(self._task)
        for waiter in self._waiters:
            waiter.cancel()

    def look(self) -> None:
        """Look at the directory now: something happened."""
        self._bell.ring()

    def again(self) -> None:
        """Redis has lost its data: enter the patterns once more, and read everything."""
        self._entered = None
        self._bell.ring()

    async def resolve(self, subscription: LiveSubscription) -> None:
        """Subscribe to every topic that matches, now and later; return when Redis has answered for those of now."""
        if not self._is_listening:
            self._is_listening = True
            self._bus.live.listen(self._bus.names.control(TOPICS), self._heard)
        self._bus.live.add(subscription, resolved=True)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._bell.ring()
        await waiter

    def _heard(self, body: bytes) -> None:
        """A notice: others may publish there, too, so it only makes us look, and its topics are a hint."""
        try:
            said = orjson.loads(body)
            topics = [topic for topic in said["topics"] if is_topic(topic)]
            first_used = float(said.get("version", "inf")) if said.get("first") is True else 0.0
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        self._hinted |= self._bus.live.widen(topics, first_used)
        self._bell.ring()

    # -- the work

    async def _run(self) -> None:
        delay = CHECK
        while True:
            await self._bell.wait(delay)
            delay = CHECK
            try:
                if self._is_listening:
                    await self._look()
            except RedisError as error:
                log.debug("patterns are not resolved: %s", error)
                delay = RETRY
            except Exception:
                log.exception("a fault of ours; resolving is tried again")

    async def _look(self) -> None:
        live, waiters, gaps = self._bus.live, list(self._waiters), self._bus.live.gaps
        await live.answered_for({self._bus.names.control(TOPICS).encode()})  # what is announced from now on we hear
        since = self._version
        if (patterns := live.resolved) != self._entered or gaps != self._gaps:
            if not await self._say(since, patterns):
                return  # not registered yet, or not any more: whoever registers us again says so
            since = 0
        found = await self._directory.topics(since)
        channels, self._hinted = self._hinted | live.widen(found), set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await live.answered_for(channels)
        self._version = max([self._version, *found.values()])
        if await self._say(self._version):
            self._entered, self._gaps = patterns, gaps
            self._tell(waiters)
        else:
            self.again()

    def _tell(self, waiters: list[asyncio.Future[None]]) -> None:
        del self._waiters[: len(waiters)]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
