"""What a client sends: on topics that are kept it is appended, as the hive's services do; on others it goes live."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from ..bell import Bell
from ..bus.bus import Bus
from ..cancelling import end
from ..data.caretaker import Caretaker, Terms
from ..data.entries import KeptTopic, idle_groups
from ..data.kept import KEPT, Kept
from ..errors import ConfigurationError, OutboxFull, RedisError, Unconfirmed, Undelivered, check_seconds
from ..message import encode_headers, encode_payload
from ..retention import WEEK, Retention, Tier
from ..topics import check_topic
from .unread import Unread

log = logging.getLogger("hivemind.client")

TEND = 15.0  #: seconds, about, between two looks at the durable topics that a client sends
TRY_AGAIN = 0.25  #: seconds until what Redis did not do is tried again
MOST = 10_000  #: messages that may wait until a topic is announced


class Posting:
    """Sends for a client. A message on a topic that is kept waits here until the topic has been announced and all its
    groups are there: the first one only, and those that come meanwhile.
    """

    def __init__(self, bus: Bus, tier: Tier) -> None:
        self._bus, self._tier = bus, tier
        self._kept = Kept(bus.streams)
        self._unread = Unread(bus, self._kept)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._known: set[str] = set()  # topics that somebody keeps
        self._mine: set[str] = set()  # those that we send durably, whatever others say
        self._anew: set[str] = set()  # whose stream was removed
        self._held: dict[str, deque[bytes]] = {}
        self._news, self._due = Bell(), Bell()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Learn what is kept. Raises RedisError."""
        if self._bus.shards is not None:
            return
        await self._learn()
        self._bus.live.listen(self._bus.names.control(KEPT), self._heard)
        self._tasks = [
            asyncio.create_task(self._run(), name="kept topics of a client"),
            asyncio.create_task(self._tend(), name="tend kept topics of a client"),
            asyncio.create_task(self._unread.run(), name="durable readers of what a client sends live"),
        ]

    async def stop(self) -> None:
        """End. What was not flushed may be lost."""
        for task in self._tasks:
            await end(task)

    def send(self, topic: str, payload: Any, headers: Mapping[str, str] | None, *, durable: bool) -> None:
        """Hand a message over, from any thread. Raises what ``Bus.send`` raises, and ConfigurationError where a Cluster
        shall keep it.
        """
        if durable and self._bus.shards is not None:
            raise ConfigurationError(f"{topic}: a Cluster carries live messages only, so far")
        with self._lock:
            is_new = durable and topic not in self._mine
            is_held = is_new or topic in self._held or (topic in self._known and not self._bus.keeps(topic))
            if is_held:
                self._hold(check_topic(topic), payload, headers)
            if is_new:
                self._mine.add(topic)
            if not is_held and not self._bus.keeps(topic):
                self._unread.saw(topic)
        if is_held:
            self._loop.call_soon_threadsafe(self._news.ring)
        else:
            self._bus.send(topic, payload, headers)

    async def flush(self, timeout: float) -> None:
        """Return when Redis has confirmed all that was sent before, and who reads durably was looked up. Raises
        Refused, Unconfirmed.
        """
        deadline = self._loop.time() + check_seconds(timeout, "flush")
        try:
            async with asyncio.timeout_at(deadline):
                while self._held:
                    await self._changed.wait()
        except TimeoutError:
            with self._lock:
                waiting = [Undelivered(topic, 0, "its topic is not announced") for topic in self._held]
            if waiting:
                raise Unconfirmed(waiting, timeout) from None
        await self._bus.flush(max(0.0, deadline - self._loop.time()))
        if self._bus.shards is None:
            await self._unread.look_at_new()

    def _hold(self, topic: str, payload: Any, headers: Mapping[str, str] | None) -> None:
        body = encode_payload(payload)
        held = self._held.setdefault(topic, deque())
        if len(held) >= MOST:
            raise OutboxFull(f"{topic}: {MOST:,} messages wait for Redis")
        held.append(body + encode_headers(headers) if headers else body)

    # -- on the loop

    def _heard(self, body: bytes) -> None:  # noqa: ARG002 - what it tells is looked up
        self._news.ring()

    async def _learn(self) -> dict[str, KeptTopic]:
        found = {one.topic: one for one in await self._kept.topics()}
        with self._lock:
            self._known = set(found)
        return found

    async def _run(self) -> None:
        """Announce what is held for, then let it go."""
        while True:
            await self._news.wait(TEND)
            try:
                known = await self._learn()
                for topic in list(self._held):
                    await self._announce(topic, known.get(topic))
                    await self._release(topic)
            except RedisError as error:
                log.debug("kept topics: %s", error)
                await asyncio.sleep(TRY_AGAIN)
                self._news.ring()
            except Exception:
                log.exception("kept topics")
                await asyncio.sleep(TRY_AGAIN)

    async def _announce(self, topic: str, said: KeptTopic | None) -> Retention | None:
        """Enter it as it is kept, durably if that is our word, and append from now on; None where nobody keeps it."""
        if said is None and topic not in self._mine:
            return None
        durable, keep = (said.durable, said.keep) if said is not None else (True, None)
        is_anew = topic in self._anew
        found = await self._kept.announce(topic, durable or topic in self._mine, keep, is_anew=is_anew)
        self._anew.discard(topic)
        self._bus.keep(topic, found.retention, self._tier, self._is_anew)
        return found.retention

    async def _release(self, topic: str) -> None:
        while True:
            with self._lock:
                held = self._held[topic]
                try:
                    while held:
                        self._bus.outbox.send(topic, held[0])
                        held.popleft()
                except OutboxFull:
                    pass
                else:
                    del self._held[topic]
                    break
            await self._bus.drain()
        self._changed.set()
        self._changed = asyncio.Event()

    def _is_anew(self, topic: str) -> None:
        self._anew.add(topic)
        self._due.ring()

    async def _tend(self) -> None:
        """Keep our durable topics known, whatever Redis loses, and their streams short."""
        caretaker: asyncio.Task[None] | None = None
        try:
            while True:
                await self._due.wait(TEND * random.uniform(0.8, 1.2))
                if self._mine and caretaker is None:
                    looking = Caretaker(self._bus.streams, Terms(WEEK), self._loop.time)
                    caretaker = asyncio.create_task(looking.run(), name="caretaker")
                try:
                    await self._tend_once()
                except RedisError as error:
                    log.debug("kept topics: %s", error)
                except Exception:
                    log.exception("kept topics")
        finally:
            await end(caretaker)

    async def _tend_once(self) -> None:
        topics = {topic for topic in [*self._mine, *self._anew] if self._bus.keeps(topic)}
        if not topics:
            return
        known, readings = await self._learn(), await self._kept.readings()
        for topic in topics:
            retention = await self._announce(topic, known.get(topic))
            while retention and await self._bus.streams.trim(topic, retention, idle_groups(topic, readings)):
                pass
