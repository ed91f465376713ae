"""The primary behind Sentinels: when it has moved, every connection to another server is let go.

Sentinels are asked at every connect; but a primary that stands still, or is cut off from the others, keeps its
connections, and what it is given is lost. So one Sentinel at a time is listened to: it says at once when another server
was promoted. While none can be reached the server itself is asked what it is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable
from typing import Any, cast

import hiredis

from ..backoff import Backoff
from ..errors import RedisError
from .commands import Commands
from .endpoint import Endpoint
from .link import PING, pack
from .peers import Address
from .watch import Watch

log = logging.getLogger("hivemind.redis")

_PORT = re.compile(r"[0-9]{1,5}")
MOVED = "+switch-master"
TICK = 1.0  #: seconds between two signs of life that are asked of a Sentinel
SILENT = 3  #: of them without an answer, after which another Sentinel is listened to
PAUSE = 5.0  #: seconds between two rounds through all Sentinels at the most


class PrimaryWatch(Watch):
    """Listens from ``start`` to ``aclose`` where the primary of ``endpoint`` is."""

    def __init__(self, endpoint: Endpoint, commands: Commands) -> None:
        super().__init__(endpoint, commands)
        self._service = endpoint.service
        self._backoff = Backoff(0.25, PAUSE)

    async def _run(self) -> None:
        sentinels = self._endpoint.sentinels
        random.shuffle(sentinels)  # so that they share those who listen
        while True:
            for address in sentinels:
                try:
                    await self._listen(address)
                except RedisError as error:
                    log.debug("Sentinel %s:%d: %s", *address, error)
                except Exception:
                    log.exception("a fault of ours; another Sentinel is listened to")
            await self._ask_the_server()
            await asyncio.sleep(self._backoff.next())

    async def _listen(self, address: Address) -> None:
        """Listen to one Sentinel until it says nothing more. Raises RedisError when it cannot be listened to."""
        connection = await self._endpoint.open_sentinel(address)
        ear = Ear(self._service, self._told)
        transport = cast(asyncio.Transport, cast(Any, connection)._writer.transport)
        try:
            transport.set_protocol(ear)
            transport.write(pack("SUBSCRIBE", MOVED))
            await self._stay(ear, transport)
        finally:
            transport.abort()
            await connection.disconnect(nowait=True)

    async def _stay(self, ear: Ear, transport: asyncio.Transport) -> None:
        silence, is_new = 0, True
        while silence < SILENT:
            transport.write(PING)
            await asyncio.wait((ear.gone,), timeout=TICK)
            if ear.gone.done():
                return
            silence = 0 if ear.has_heard else silence + 1
            if ear.has_heard and is_new:  # what was said before we listened
                is_new = False
                self._backoff.reset()
                await self._ask_sentinels()
            ear.has_heard = False

    async def _ask_sentinels(self) -> None:
        try:
            self._moved(await self._endpoint.primary())
        except RedisError as error:  # there is none at the moment
            log.debug("no primary: %s", error)

    async def _ask_the_server(self) -> None:
        """No Sentinel can be reached: whoever is no primary says so."""
        try:
            role = await self._commands.execute("ROLE")
        except RedisError:
            return
        if role[:1] != [b"master"]:
            self._moved(None)

    def _told(self, to: Address) -> None:
        """It has just moved there: other Sentinels may not know that yet, nor the old one that it is none any more."""
        self._endpoint.peers.follow(to)
        self._moved(to)

    def _moved(self, to: Address | None) -> None:
        """All is to lead there from now on; with None the place is not known."""
        if cut := self._endpoint.peers.leave(to):
            where = "{}:{}".format(*to) if to is not None else "another server"
            log.warning("the primary is %s now: %d connection(s) that led elsewhere are made anew", where, cut)


class Ear(asyncio.Protocol):
    """What hears a Sentinel; ``moved`` is called with where the primary of ``service`` is from now on."""

    def __init__(self, service: str, moved: Callable[[Address], None]) -> None:
        self.has_heard = False
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._service, self._moved = service, moved
        self._reader = hiredis.Reader()

    def data_received(self, data: bytes) -> None:
        """An answer, or news."""
        self.has_heard = True
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.ReplyError):  # it will never tell
                    self.connection_lost(reply)
                if (address := moved_to(self._service, reply)) is not None:
                    self._moved(address)
        except hiredis.HiredisError as error:
            self.connection_lost(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """It says nothing more."""
        if not self.gone.done():
            self.gone.set_result(str(exc))


def moved_to(service: str, reply: object) -> Address | None:
    """Where the primary of ``service`` is from now on, if that is what a Sentinel says."""
    if not isinstance(reply, list) or reply[:2] != [b"message", MOVED.encode()] or len(reply) != 3:
        return None
    said = reply[2].decode(errors="replace") if isinstance(reply[2], bytes) else ""
    name, *words = said.split(" ")
    if name != service or len(words) != 4 or not _PORT.fullmatch(words[3]):
        return None
    return words[2], int(words[3])
