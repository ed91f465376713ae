"""Commands of requests and replies, over a link of their own: those of one turn of the loop leave in one write.

Each command is an object that makes its bytes when it is written, and is told what Redis answers, or that the
connection was lost before it did.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import hiredis

from ..burst import Burst
from ..errors import RedisError, RedisUnavailable
from .carrier import GRACE
from .endpoint import is_unauthenticated, reply_error
from .link import PING, Link, bulk
from .streams import Home

log = logging.getLogger("hivemind.requests")

MOST_CHANNELS = 1000  #: channels whose commands are kept ready
FUNCTIONS = ("ask", "inquire", "settle")  #: those that are called over the link


class Command(Protocol):
    """Something to be written."""

    def packed(self) -> bytes:
        """Its bytes, asked for at the last moment; b"" when it is not wanted any more."""

    def replied(self, reply: Any) -> None:
        """Redis has answered. An error is one of ours."""

    def lost(self) -> None:
        """It was written, and the connection was lost before an answer: Redis may have done it or not."""


class Said:
    """Something published that may arrive twice, but has to arrive."""

    __slots__ = ("_calls", "_data")

    def __init__(self, calls: Calls, data: bytes) -> None:
        self._calls, self._data = calls, data

    def packed(self) -> bytes:
        """A command."""
        return self._data

    def replied(self, reply: Any) -> None:
        """It is said, unless that is forbidden."""
        if isinstance(reply, RedisError):
            self._calls.complain(reply)

    def lost(self) -> None:
        """Say it again."""
        self._calls.put(self)


class _Ping:
    """A sign of life that is asked for."""

    __slots__ = ("pong",)

    def __init__(self, pong: Callable[[Any], None]) -> None:
        self.pong = pong

    def packed(self) -> bytes:
        return PING

    def replied(self, reply: Any) -> None:
        self.pong(reply)

    def lost(self) -> None:
        """A link tells its owner by itself."""


class Calls:
    """The owner of the link. ``on_ready`` is called whenever a connection is made."""

    def __init__(self, home: Home) -> None:
        self.link = Link(home.endpoint, home.name, self)
        self.on_ready: Callable[[], None] | None = None
        self._functions = home.functions
        self._ready: dict[str, bytes] = {}  # how functions are called, known as soon as they are there
        self._waiting: list[Command] = []
        self._unanswered: deque[Command] = deque()
        self._is_due = self._closed = False
        self._grace: asyncio.TimerHandle | None = None
        self.ways: dict[str, bytes] = {}  # calls that are kept ready, as long as the connection lasts
        self._channels: dict[str, bytes] = {}  # how something is published on them
        self._reader = hiredis.Reader()
        self._complaints = Burst(10.0)

    def start(self) -> None:
        """Begin to connect."""
        self.link.start()

    async def aclose(self) -> None:
        """Write what waits, as far as that is possible now, and close. May be called twice."""
        if not self._closed:
            self.flush()
            self._closed = True
            if self._unanswered and self.link.is_up:
                await self._settled()
        self._end_grace()
        await self.link.aclose()

    async def _settled(self) -> None:
        """Wait a moment for the answers to all that was written: closing the link would throw it away."""
        done = asyncio.Event()
        self._write([_Ping(lambda _: done.set())])
        try:
            async with asyncio.timeout(1.0):
                await done.wait()
        except TimeoutError:
            pass

    # -- writing

    def put(self, command: Command) -> None:
        """Write ``command``, as soon as there is a connection. The first in a turn of the loop is written at once: it
        may be the only one. What follows it in the same turn goes together.
        """
        if self._is_due:
            self._waiting.append(command)
            return
        self._is_due = True
        asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(command)
        self._write_waiting()

    def say(self, channel: str, body: bytes) -> None:
        """Publish something on a channel."""
        before = self._channels.get(channel)
        if before is None:
            if len(self._channels) >= MOST_CHANNELS:
                self._channels.clear()
            before = self._channels[channel] = b"*3\r\n$7\r\nPUBLISH\r\n%b$" % bulk(channel)
        self.put(Said(self, b"%b%d\r\n%b\r\n" % (before, len(body), body)))

    def flush(self) -> None:
        """Write what waits, if there is a connection."""
        self._is_due = False
        self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting and self.link.is_up and self.link.is_writable and self._grace is None and not self._closed:
            waiting, self._waiting = self._waiting, []
            self._write(waiting)

    def _write(self, commands: list[Command]) -> None:
        parts = []
        for command in commands:
            if data := command.packed():
                self._unanswered.append(command)
                parts.append(data)
        if parts:
            self.link.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def call(self, function: str, key: str, *arguments: str | int | bytes) -> bytes:
        """A call of a function with one key, as it travels. Only once the link was up."""
        return self.begin(function, 0, key, *arguments)

    def begin(self, function: str, more: int, key: str, *arguments: str | int | bytes) -> bytes:
        """The same, to which so ``more`` arguments are to be added."""
        count = 4 + len(arguments) + more
        return b"*%d\r\n%b%b%b" % (count, self._ready[function], bulk(key), b"".join([_bulk(one) for one in arguments]))

    # -- as the owner of its link

    async def link_up(self) -> None:
        """A new connection counts when it has answered, and the functions are there."""
        self._reader = hiredis.Reader()
        pong: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._write([_Ping(lambda reply: None if pong.done() else pong.set_result(reply))])
        reply = await pong
        if isinstance(reply, RedisUnavailable) or (isinstance(reply, RedisError) and is_unauthenticated(reply)):
            raise reply
        self.ways.clear()
        for name in FUNCTIONS:
            self._ready[name] = b"".join([*map(bulk, await self._functions.ready(name)), bulk(1)])

    def link_ready(self) -> None:
        """Write again; a little later if those who listen need time to come back first."""
        self._end_grace()
        if not self.link.is_first:
            self._grace = asyncio.get_running_loop().call_later(GRACE, self._grace_over)
        self.flush()
        if self.on_ready is not None:
            self.on_ready()

    def _grace_over(self) -> None:
        self._grace = None
        self.flush()

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def link_lost(self, reason: str) -> None:  # noqa: ARG002 - a link's owner is told
        """Tell all that have no answer."""
        self._end_grace()
        unanswered, self._unanswered = self._unanswered, deque()
        for command in unanswered:
            command.lost()

    def link_writable(self) -> None:
        """The socket takes more."""
        self.flush()

    def link_ping(self) -> None:
        """The link wants a sign of life."""
        self._write([_Ping(lambda _: self.link.ponged())])

    # -- reading

    def link_received(self, data: bytes) -> None:
        """Replies: one for each command that was written, in order."""
        reader = self._reader
        reader.feed(data)
        unanswered = self._unanswered
        while (reply := reader.gets()) is not False:
            if isinstance(reply, Exception):
                error = reply_error(reply)
                if unanswered[0].__class__ is not _Ping and _needs_another(error):
                    self.link.drop(str(error))
                    return
                reply = error
            unanswered.popleft().replied(reply)

    def complain(self, error: RedisError) -> None:
        """Say, not too often, that Redis refuses something."""
        if self._complaints.first() is not None:
            log.error("Redis refuses what belongs to a request: %s", error)


def _bulk(word: str | int | bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word) if isinstance(word, bytes) else bulk(word)


def _needs_another(error: RedisError) -> bool:
    """Whether a command was certainly not done, and may be over another connection."""
    text = str(error).lower()
    return isinstance(error, RedisUnavailable) or is_unauthenticated(error) or "function not found" in text
