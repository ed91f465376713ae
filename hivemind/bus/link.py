"""One self-healing connection: opened by redis-py, then read and written by us.

redis-py does what is delicate once per connection (TLS, authentication, Sentinel); then the link takes the
transport over, because from there on each message counts: a protocol that feeds a parser costs a seventh of a
stream that is read reply by reply. A link never gives up; whoever owns it is told when it is up and when it was lost.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from typing import Any, Protocol, cast

import hiredis

from ..backoff import Backoff
from ..cancelling import end
from ..errors import RedisDenied, RedisError, RedisUnavailable
from ..states import LINK, LinkState, advance
from .endpoint import CONNECT_TIMEOUT, Endpoint
from .outage import Trouble, trouble_of
from .pace import Pace
from .turned_away import is_crowded

log = logging.getLogger("hivemind.link")

STEADY = 1.0  #: seconds that a connection has to last for the next back-off to begin anew
DENIED_DELAY = 5.0  #: seconds between two tries while Redis refuses our credentials
TICK = 0.5  #: seconds between two looks at a connection
QUIET = 5  #: ticks without one byte after which the link asks for a sign of life: a beat comes more often
SILENT = QUIET + 5  #: ticks without one byte after which a link is dead
WRITE_BUFFER = 1024 * 1024  #: bytes that may wait in a transport before the owner is told to pause
PING = b"*1\r\n$4\r\nPING\r\n"


def pack(*command: str | bytes | int | float) -> bytes:
    """One command as it travels."""
    return bytes(hiredis.pack_command(cast("tuple[str]", command)))


def bulk(word: str | int) -> bytes:
    """One word of a command as it travels."""
    text = str(word).encode()
    return b"$%d\r\n%b\r\n" % (len(text), text)


class Owner(Protocol):
    """Who uses a link. All calls come on the event loop."""

    def link_received(self, data: bytes) -> None:
        """Bytes have come."""

    async def link_up(self) -> None:
        """A connection is made: greet. An exception here counts as a lost connection."""

    def link_ready(self) -> None:
        """The greeting is over: the link is up."""

    def link_lost(self, reason: str) -> None:
        """The connection that was up, or coming up, is gone; a new one is being made."""

    def link_writable(self) -> None:
        """The transport has room again."""

    def link_ping(self) -> None:
        """Write PING, and call ``Link.ponged`` when its answer is parsed."""


class Link:
    """One connection to ``endpoint`` that is made again whenever it is lost, until ``aclose()``.

    ``gaps`` counts how often a connection that was up got lost; ``is_first`` is True until anything failed.
    """

    def __init__(self, endpoint: Endpoint, name: str, owner: Owner, *, backoff: Backoff | None = None) -> None:
        self.endpoint, self.name = endpoint, name
        self.state = LinkState.CONNECTING
        self.gaps = 0
        self.is_first = True
        self._last_heard = 0.0
        self.last_error = ""
        self.is_writable = False
        self._owner = owner
        self._outage = endpoint.outage
        self._pace = Pace(backoff)
        self._transport: asyncio.Transport | None = None
        self._pinged = 0.0
        self._gone: asyncio.Future[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Begin to connect, in the background. What is being done here, such as the message that is handled, is
        nothing to a connection: it lasts longer.
        """
        work, name = self._run(), f"link {self.name}"
        self._task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())

    @property
    def is_up(self) -> bool:
        """Whether commands go out and answers come in."""
        return self.state is LinkState.UP

    def write(self, data: bytes) -> None:
        """Hand bytes to the connection; when there is none they are lost, and ``link_lost`` said or will say so."""
        if self._transport is not None and not self._transport.is_closing():  # uvloop's would raise
            self._transport.write(data)

    def ping(self) -> None:
        """Ask for a sign of life, unless one is already awaited. The answer comes behind all that is under way."""
        if self._transport is not None and not self._pinged:
            self._pinged = time.monotonic()
            self._owner.link_ping()

    def ponged(self) -> None:
        """The owner has parsed the answer to ``ping``."""
        self._pinged = 0.0

    @property
    def lateness(self) -> float:
        """For how many seconds the answer to ``ping`` is awaited: how far behind the reading is."""
        return time.monotonic() - self._pinged if self._pinged else 0.0

    def pause_reading(self) -> None:
        """Leave bytes in the socket until ``resume_reading``."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def drop(self, reason: str) -> None:
        """Tear the connection down at once; a new one is made."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(reason)
        if self._transport is not None:
            self._transport.abort()

    async def wait(self, *states: LinkState) -> LinkState:
        """Return as soon as the link is in one of ``states``."""
        while self.state not in states:
            await self._changed.wait()
        return self.state

    async def aclose(self) -> None:
        """Close for good. May be called twice."""
        await end(self._task)
        self._outage.forget(self)
        self._enter(LinkState.CLOSED)

    # -- the life of a link

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            error: RedisError
            try:
                error = await self._live_once()
            except RedisError as caught:
                error = caught
            except Exception as fault:
                log.exception("%s: a fault of ours; trying again", self.name)
                error = RedisUnavailable(f"{type(fault).__name__}: {fault}")
            took = 0.0 if self.is_up else time.monotonic() - began
            self._lost(error)
            await self._outage.rest(self._pause(took, error))

    def _pause(self, took: float, error: RedisError) -> float:
        if self.state is LinkState.DENIED:
            return DENIED_DELAY * random.uniform(0.8, 1.2)
        return self._pace.pause(took, is_full=trouble_of(error) is Trouble.FULL or is_crowded(error))

    async def _live_once(self) -> RedisError:
        """Connect, greet, and stay until the connection is gone; return why it is. Raises why it could not be made."""
        connection = await self.endpoint.open(self.name)
        self._gone = asyncio.get_running_loop().create_future()
        transport = cast(asyncio.Transport, cast(Any, connection)._writer.transport)
        try:
            transport.set_protocol(_Wire(self, self._gone))
            transport.set_write_buffer_limits(high=WRITE_BUFFER)
            self._transport, self.is_writable, self._pinged = transport, True, 0.0
            self._last_heard = time.monotonic()
            return RedisUnavailable(f"{self.endpoint.redacted}: {await self._greet_and_stay(self._gone)}")
        finally:
            self._transport, self.is_writable = None, False
            transport.abort()
            await connection.disconnect(nowait=True)

    async def _greet_and_stay(self, gone: asyncio.Future[str]) -> str:
        greeting = asyncio.create_task(self._owner.link_up(), name=f"greeting {self.name}")
        try:
            await asyncio.wait((greeting, gone), timeout=CONNECT_TIMEOUT, return_when="FIRST_COMPLETED")
            is_greeted = greeting.done()
        finally:
            await end(greeting)  # one that waits for redis-py may not end at the first word
        if gone.done():
            return gone.result()
        if not is_greeted or greeting.cancelled():
            return f"no answer to the greeting within {CONNECT_TIMEOUT:g} s"
        greeting.result()
        self._is_up()
        began = time.monotonic()
        reason = await self._stay(gone)
        if time.monotonic() - began > STEADY:
            self._pace.reset()
        return reason

    async def _stay(self, gone: asyncio.Future[str]) -> str:
        """Watch over a connection that is up: silence although we asked means that nobody is there.

        Ticks are counted, not seconds: while this process itself stood still nobody could have heard anything.
        """
        heard, quiet = self._last_heard, 0
        while True:
            done, _ = await asyncio.wait((gone,), timeout=TICK)
            if done:
                return gone.result()
            quiet = quiet + 1 if self._last_heard == heard else 0
            heard = self._last_heard
            if quiet >= SILENT:
                return f"no answer for {SILENT * TICK:g} s"
            if quiet >= QUIET:
                self.ping()

    def _is_up(self) -> None:
        self.last_error = ""
        self._enter(LinkState.UP)
        self._outage.back(self)
        self._owner.link_ready()

    def _lost(self, error: RedisError) -> None:
        """The connection is gone, or was not made."""
        self.is_first = False
        self.gaps += self.is_up
        is_denied = isinstance(error, RedisDenied) and not self.is_up
        self._enter(LinkState.DENIED if is_denied else LinkState.CONNECTING)
        self.last_error = str(error)
        self._outage.failed(self, error)
        self._owner.link_lost(self.last_error)

    def _enter(self, state: LinkState) -> None:
        if state is LinkState.CONNECTING and self.state is LinkState.CLOSED:
            return
        self.state = advance(LINK, self.state, state)
        self._changed.set()
        self._changed = asyncio.Event()

    # -- called by the wire

    def heard(self, data: bytes) -> None:
        """Bytes have come over the connection that is in use."""
        self._last_heard = time.monotonic()
        try:
            self._owner.link_received(data)
        except Exception as error:
            log.exception("%s: cannot read what Redis sends", self.name)
            self.drop(f"cannot read what Redis sends: {error}")

    def set_writable(self, is_writable: bool) -> None:
        """The transport is full, or has room again."""
        self.is_writable = is_writable
        if is_writable:
            self._owner.link_writable()


class _Wire(asyncio.Protocol):
    """What a transport speaks to; ignored once its connection is no longer the link's."""

    def __init__(self, link: Link, gone: asyncio.Future[str]) -> None:
        self._link, self._gone = link, gone

    def data_received(self, data: bytes) -> None:
        if not self._gone.done():
            self._link.heard(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(str(exc) if exc else "Redis closed the connection")

    def pause_writing(self) -> None:
        if not self._gone.done():
            self._link.set_writable(False)

    def resume_writing(self) -> None:
        if not self._gone.done():
            self._link.set_writable(True)
