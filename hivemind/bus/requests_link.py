"""Commands of requests and replies, over a link of their own on which Redis answers nothing.

What comes of a request is heard in the inbox; an answer to each command would only wake both sides once more. Now and
then, behind what was written, Redis is asked whether it took all that: what was written since is held until it says so,
and told if the connection is lost before. Where a server cannot be silent each command has its answer.
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
from .link import PING, Link, bulk, pack
from .streams import Home
from .translation import is_unauthenticated, reply_error

log = logging.getLogger("hivemind.requests")

MOST_CHANNELS = 1000  #: channels whose commands are kept ready
FUNCTIONS = ("ask", "release")  #: those that are called over the link
SURE = 0.1  #: seconds, about, between two questions whether Redis took what was written
SILENT, LOUD = pack("CLIENT", "REPLY", "OFF"), pack("CLIENT", "REPLY", "ON")


class Command(Protocol):
    """Something to be written."""

    def packed(self) -> bytes:
        """Its bytes, asked for at the last moment; b"" when it is not wanted any more."""

    def lost(self) -> None:
        """It was written, and the connection was lost before Redis said that it took it."""


class Said:
    """Something published that may arrive twice, but has to arrive."""

    __slots__ = ("_calls", "_data")

    def __init__(self, calls: Calls, data: bytes) -> None:
        self._calls, self._data = calls, data

    def packed(self) -> bytes:
        """A command."""
        return self._data

    def lost(self) -> None:
        """Say it again."""
        self._calls.put(self)


class _Question:
    """Something that Redis answers. ``before`` is what was written before it, since the last question."""

    __slots__ = ("before", "told")

    def __init__(self, before: list[Command], told: Callable[[Any], None] | None = None) -> None:
        self.before, self.told = before, told


class Calls:
    """The owner of the link. ``on_ready`` is called whenever a connection is made."""

    def __init__(self, home: Home) -> None:
        self.link = Link(home.endpoint, home.name, self)
        self.on_ready: Callable[[], None] | None = None
        self.ways: dict[str, tuple[int, bytes]] = {}  # calls that are kept ready, as long as the connection lasts
        self._functions, self._probe_key = home.functions, home.names.responders("")
        self._ready: dict[str, bytes] = {}  # how functions are called, known as soon as they are there
        self._waiting: list[Command] = []
        self._written: list[Command] = []  # since the last question
        self._questions: deque[_Question] = deque()
        self._is_silent = True
        self._channels: dict[str, bytes] = {}  # how something is published on them
        self._is_due = self._closed = False
        self._is_lonely, self._in_turn = True, 0  # commands in this turn of the loop
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._reader = hiredis.Reader()
        self._complaints = Burst(60.0)

    def start(self) -> None:
        """Begin to connect."""
        self._loop = asyncio.get_running_loop()
        self.link.start()

    async def aclose(self) -> None:
        """Write what waits, as far as that is possible now, and close. May be called twice."""
        if not self._closed:
            self.flush()
            self._closed = True
            if self.link.is_up:
                await self._settled()
        for timer in self._timers.values():
            timer.cancel()
        await self.link.aclose()

    async def _settled(self) -> None:
        """Wait a moment until Redis has taken what was written: closing the link would throw it away."""
        done = asyncio.Event()
        self._ask(lambda _: done.set())
        try:
            async with asyncio.timeout(1.0):
                await done.wait()
        except TimeoutError:
            pass

    # -- writing

    def put(self, command: Command) -> None:
        """Write ``command``, as soon as there is a connection: what comes in one turn of the loop goes together. Where
        the turn before had but one it is written at once, for then it is probably the only one again.
        """
        self._in_turn += 1
        self.add(command)

    def joined(self) -> None:
        """Something was added to a command that waits."""
        self._in_turn += 1

    def add(self, command: Command) -> None:
        """The same for what nobody waits for, and makes no company."""
        self._waiting.append(command)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.flush)
            if self._is_lonely:
                self._write()

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
        if self._in_turn:
            self._is_lonely, self._in_turn = self._in_turn == 1, 0
        if self._waiting:
            self._write()

    def _write(self) -> None:
        if not self.link.is_up or not self.link.is_writable or "grace" in self._timers or self._closed:
            return
        commands, self._waiting = self._waiting, []
        written = [(command, data) for command in commands if (data := command.packed())]
        if self._is_silent:
            self._written += [command for command, _ in written]
        else:
            self._questions += [_Question([command], self._complain) for command, _ in written]
        if written:
            self.link.write(written[0][1] if len(written) == 1 else b"".join([data for _, data in written]))
        if self._written and "sure" not in self._timers:
            self._after("sure", SURE, self._make_sure)

    def _make_sure(self) -> None:
        del self._timers["sure"]
        if self.link.is_up and self._written:
            self._ask(self._complain)

    def _ask(self, told: Callable[[Any], None]) -> None:
        """Let Redis say that it took all that was written, or what is wrong with calling functions here."""
        written, self._written = self._written, []
        probe = self.call("release", self._probe_key, "", 0)
        if self._is_silent:
            self._questions += [_Question(written), _Question([], told)]
            self.link.write(LOUD + probe + SILENT)
        else:
            self._questions.append(_Question([], told))
            self.link.write(probe)

    def call(self, function: str, key: str, *arguments: str | int | bytes) -> bytes:
        """A call of a function with one key, as it travels. Only once the link was up."""
        return b"*%d\r\n%b" % self.begun(function, key, *arguments)

    def begun(self, function: str, key: str, *arguments: str | int | bytes) -> tuple[int, bytes]:
        """The same, to which more arguments can be added: how many words it has, and all but their number."""
        return 4 + len(arguments), b"".join([self._ready[function], bulk(key), *map(_bulk, arguments)])

    def _after(self, name: str, seconds: float, what: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(seconds, what)

    # -- as the owner of its link

    async def link_up(self) -> None:
        """A new connection counts when it has answered, the functions are there, and it is silent if it can be."""
        self._reader = hiredis.Reader()
        reply = await self._question(PING)
        if isinstance(reply, RedisUnavailable) or (isinstance(reply, RedisError) and is_unauthenticated(reply)):
            raise reply
        self.ways.clear()
        for name in FUNCTIONS:
            self._ready[name] = b"".join([*map(bulk, await self._functions.ready(name)), bulk(1)])
        self._is_silent = not isinstance(await self._question(SILENT + LOUD), RedisError)
        if self._is_silent:
            self.link.write(SILENT)
        else:  # both were answered
            await self._question(PING)

    async def _question(self, command: bytes) -> Any:
        """What Redis says first to ``command``."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._questions.append(_Question([], lambda said: None if reply.done() else reply.set_result(said)))
        self.link.write(command)
        return await reply

    def link_ready(self) -> None:
        """Write again; a little later if those who listen need time to come back first."""
        self._end_timers()
        if not self.link.is_first:
            self._after("grace", GRACE, self._grace_over)
        self.flush()
        if self.on_ready is not None:
            self.on_ready()

    def _grace_over(self) -> None:
        del self._timers["grace"]
        self.flush()

    def _end_timers(self) -> None:
        while self._timers:
            self._timers.popitem()[1].cancel()

    def link_lost(self, reason: str) -> None:  # noqa: ARG002 - a link's owner is told
        """Tell all of which Redis has not said that it took them."""
        self._end_timers()
        lost = [command for question in self._questions for command in question.before] + self._written
        self._questions.clear()
        self._written = []
        for command in lost:
            command.lost()

    def link_writable(self) -> None:
        """The socket takes more."""
        self.flush()

    def link_ping(self) -> None:
        """The link wants a sign of life."""
        self._ask(lambda _: self.link.ponged())

    # -- reading

    def link_received(self, data: bytes) -> None:
        """What Redis says to questions, in order."""
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            said = reply_error(reply) if isinstance(reply, Exception) else reply
            if self.link.is_up and isinstance(said, RedisError) and _needs_another(said):
                self.link.drop(str(said))
                return
            if self._questions:  # else it is the second answer of a server that cannot be silent
                told = self._questions.popleft().told
                if told is not None:
                    told(said)

    def _complain(self, said: Any) -> None:
        """Say, not too often, that Redis refuses something."""
        if isinstance(said, RedisError) and self._complaints.first() is not None:
            log.error("Redis refuses what belongs to a request: %s", said)


def _bulk(word: str | int | bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word) if isinstance(word, bytes) else bulk(word)


def _needs_another(error: RedisError) -> bool:
    """Whether a command was certainly not done, and may be over another connection."""
    text = str(error).lower()
    return isinstance(error, RedisUnavailable) or is_unauthenticated(error) or "function not found" in text
