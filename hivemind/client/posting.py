"""What a client sends: on topics that are kept it is appended, as the hive's services do; on others it goes live."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from ..bell import Bell
from ..bus.bus import Bus
from ..cancelling import end
from ..data.entries import KeptTopic
from ..data.kept import KEPT
from ..data.tending import TEND, Tending
from ..errors import OutboxFull, RedisError, Unconfirmed, Undelivered, check_seconds
from ..message import encode_headers, encode_payload
from ..retention import WEEK, Tier
from ..topics import check_topic
from .unread import Unread

log = logging.getLogger("hivemind.client")

TRY_AGAIN = 0.25  #: seconds until what Redis did not do is tried again
MOST = 10_000  #: messages that may wait until a topic is announced


class Posting:
    """Sends for a client. A message on a topic that is kept waits here until the topic has been announced and all its
    groups are there: the first one only, and those that come meanwhile.
    """

    def __init__(self, bus: Bus, tier: Tier) -> None:
        self._bus, self._tier = bus, tier
        self._tending = Tending(bus, log)
        self._unread = Unread(bus, self._tending.kept)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._known: set[str] = set()  # topics that somebody keeps
        self._mine: set[str] = set()  # those that we send durably, whatever others say
        self._held: dict[str, deque[bytes]] = {}
        self._news = Bell()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Learn what is kept. Raises RedisError."""
        await self._learn()
        self._bus.live.listen(self._bus.names.control(KEPT), self._heard)
        self._tasks = [
            asyncio.create_task(self._run(), name="kept topics of a client"),
            asyncio.create_task(self._tending.run(self._renew, WEEK), name="tend kept topics of a client"),
            asyncio.create_task(self._unread.run(), name="durable readers of what a client sends live"),
        ]

    async def stop(self) -> None:
        """End. What was not flushed may be lost."""
        for task in self._tasks:
            await end(task)

    def send(self, topic: str, payload: Any, headers: Mapping[str, str] | None, *, durable: bool) -> None:
        """Hand a message over, from any thread. Raises what ``Bus.send`` raises."""
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
        Refused, and Unconfirmed after ``timeout`` seconds.
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
        found = {one.topic: one for one in await self._tending.kept.topics()}
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

    async def _announce(self, topic: str, said: KeptTopic | None) -> KeptTopic | None:
        """Enter it as it is kept, durably if that is our word, and append from now on; None where nobody keeps it."""
        if said is None:
            return await self._tending.announce(topic, True, None, self._tier) if topic in self._mine else None
        return await self._tending.announce(topic, said.durable or topic in self._mine, said.keep, self._tier)

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

    async def _renew(self) -> list[KeptTopic]:
        """Announce again what we send durably, and what was made anew."""
        topics = [topic for topic in {*self._mine, *self._tending.anew} if self._bus.keeps(topic)]
        known = await self._learn() if topics else {}
        found = [await self._announce(topic, known.get(topic)) for topic in topics]
        return [one for one in found if one is not None]
