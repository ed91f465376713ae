"""Knows which topics are kept, for who receives live and wants what passed by."""

from __future__ import annotations

import asyncio
import logging

import orjson

from ..bell import Bell
from ..bus.bus import Bus
from ..bus.filling import Filler
from ..bus.rereading import Rereading
from ..cancelling import end
from ..errors import RedisError, RedisUnavailable
from ..topics import is_topic
from .kept import KEPT, Kept

log = logging.getLogger("hivemind.live")

CHECK = 15.0  #: seconds between two looks without a notice: one may have been lost
RETRY = 0.1  #: seconds between two tries while Redis does not answer
REFUSED = 5.0  #: seconds between two tries while it refuses


class KeptWatch:
    """Gives a bus its Filler, and tells that which topics are kept, from ``start`` to ``stop``."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._kept = Kept(bus.streams)
        self._filler = Filler(Rereading(bus.commands, bus.names), bus.live)
        self._bell = Bell()
        self._losses = 0
        self._new: set[str] | None = None  # what notices tell of while we look
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the loop, before anybody subscribes."""
        self._bus.filler = self._filler
        self._bus.live.listen(self._bus.names.control(KEPT), self._heard)
        self._bus.live.mender = self
        self._task = asyncio.create_task(self._run(), name="kept topics")

    async def stop(self) -> None:
        """End; what is being filled is the bus's. May be called twice."""
        await end(self._task)

    def _heard(self, body: bytes) -> None:
        """A notice of a new topic: its first message may come right behind it."""
        try:
            said = orjson.loads(body)
            topic = said["topic"]
        except (ValueError, TypeError, KeyError):
            return  # anybody may publish there
        if is_topic(topic) and "live" not in said:  # which tells of one that is not kept
            self._filler.kept.add(topic)
            if self._new is not None:
                self._new.add(topic)

    def lost(self) -> None:
        """Notices pass by, and messages."""
        self._losses += 1
        self._filler.lost()

    def back(self) -> None:
        """Look again, and find what passed by."""
        self._bell.ring()
        self._filler.catch_up()

    async def _run(self) -> None:
        await self._bus.live.answered_for({self._bus.names.control(KEPT).encode()})
        delay = 0.0
        while True:
            await self._bell.wait(delay)
            try:
                delay = CHECK if await self._look() else RETRY
            except RedisUnavailable:
                delay = RETRY
            except RedisError as error:
                log.debug("nobody may know which topics are kept: %s", error)
                self._filler.kept.set(self._filler.kept.topics)
                delay = REFUSED
            except Exception:
                log.exception("a fault of ours; it is tried again")
                delay = REFUSED

    async def _look(self) -> bool:
        """Read which topics are kept; False if notices were lost meanwhile."""
        losses, self._new = self._losses, set[str]()
        try:
            found = await self._kept.topics()
        finally:
            new, self._new = self._new, None
        if losses != self._losses or not self._bus.live.link.is_up:
            return False
        self._filler.kept.set([*(one.topic for one in found), *new])
        return True
