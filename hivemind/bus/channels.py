"""What one connection is subscribed to: exact channels and patterns, and who gets what comes on them.

Exact channels cost SUBSCRIBE, patterns PSUBSCRIBE; a ``pmessage`` names the pattern that matched, so overlapping
patterns never deliver twice to one subscription. One PSUBSCRIBE command a pattern: a pattern that an ACL forbids
must not silence the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import hiredis

from ..topics import Names, is_pattern
from .channel_topics import ChannelTopics
from .endpoint import Endpoint
from .fences import Fences
from .link import DENIED_DELAY, PING, Link, pack
from .receiving import LiveSubscription
from .translation import is_unauthenticated, reply_error

log = logging.getLogger("hivemind.live")

FULL_READ = 16 * 1024  #: bytes read at once from which on the link pauses to let the workers have their turn
ASK = 0.1  #: seconds between two looks at how far behind the reading is
LATE = 0.5  #: seconds that an echo may be late before the link reads on without pausing
FENCE = "FENCE"
READ_ON = 8  #: buffers that a late link reads in a row; more would keep the workers from ever having a turn
_MESSAGES = frozenset({b"message", b"pmessage", b"smessage"})
Listener = Callable[[bytes], None]
T = TypeVar("T")


class Told(Protocol):
    """Who is told what becomes of channels. All calls come on the event loop."""

    def answered(self) -> None:
        """Redis has said something that somebody may wait for."""

    def ready(self, channels: Channels) -> None:
        """A connection is made, and all is subscribed to that may be."""

    def lost(self, channels: Channels, reason: str, is_gap: bool) -> None:
        """The connection is gone, or cannot be made. A gap: messages may pass by from now on that came until now."""


class Channels:
    """The owner of one link that receives."""

    def __init__(self, endpoint: Endpoint, name: str, names: Names, told: Told) -> None:
        self.link = Link(endpoint, name, self)
        self._names, self._told = names, told
        self._subscriptions: dict[bytes, list[LiveSubscription]] = {}  # by channel, or by pattern of channels
        self._listeners: dict[bytes, list[Listener]] = {}
        self._topics = ChannelTopics(names)
        self._asked: deque[tuple[str, bytes]] = deque()  # what Redis has yet to answer, in order
        self._confirmed: set[bytes] = set()
        self._denied: dict[bytes, str] = {}
        self._retrying: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._reader = hiredis.Reader()
        self._unpaused = 0
        self._asked_at = 0.0
        self._fences = Fences(self._ask_for_fence)

    def start(self) -> None:
        """Begin to connect."""
        self.link.start()

    async def aclose(self) -> None:
        """Close the connection; nothing comes any more. May be called twice."""
        if self._retrying is not None:
            self._retrying.cancel()
            self._retrying = None
        await self.link.aclose()

    # -- what is wanted, and what Redis has said of it

    def join(self, channel: bytes, subscription: LiveSubscription) -> None:
        """Let ``subscription`` have a channel, or a pattern of channels."""
        self._join(self._subscriptions, channel, subscription)

    def leave(self, channel: bytes, subscription: LiveSubscription) -> None:
        """End what ``join`` began."""
        self._leave(self._subscriptions, channel, subscription)

    def listen(self, channel: bytes, listener: Listener) -> None:
        """Call ``listener`` with the bytes of each message on one exact channel."""
        self._join(self._listeners, channel, listener)

    def unlisten(self, channel: bytes, listener: Listener) -> None:
        """End what ``listen`` began."""
        self._leave(self._listeners, channel, listener)

    @property
    def wanted(self) -> set[bytes]:
        """All channels and patterns that somebody wants."""
        return {*self._subscriptions, *self._listeners}

    def wants(self, channel: bytes) -> bool:
        """Whether somebody wants ``channel``."""
        return channel in self._subscriptions or channel in self._listeners

    def has(self, channel: bytes) -> bool:
        """Whether what is sent on ``channel`` comes here now."""
        return self.link.is_up and channel in self._confirmed

    def refusal(self, channel: bytes) -> str:
        """Why Redis does not let us have ``channel``; "" as far as it does."""
        return self._denied.get(channel, "")

    @property
    def denied(self) -> dict[str, str]:
        """Channels and patterns that Redis will not let us have, and what it said."""
        return {channel.decode(): reason for channel, reason in self._denied.items()}

    @property
    def is_asking(self) -> bool:
        """Whether Redis has yet to answer something."""
        return bool(self._asked)

    def _join(self, table: dict[bytes, list[T]], channel: bytes, member: T) -> None:
        is_new = not self.wants(channel)
        table.setdefault(channel, []).append(member)
        if is_new and self.link.is_up:
            self._ask("SUBSCRIBE", channel)

    def _leave(self, table: dict[bytes, list[T]], channel: bytes, member: T) -> None:
        group = table.get(channel, [])
        if member in group:
            group.remove(member)
        if group or table.pop(channel, None) is None:
            return
        if not self.wants(channel):
            self._confirmed.discard(channel)
            self._denied.pop(channel, None)
            if self.link.is_up:
                self._ask("UNSUBSCRIBE", channel)

    def fence(self, passed: Callable[[], None]) -> None:
        """Call ``passed`` when all that Redis has sent over this connection by now is read, or lost with it."""
        if self.link.is_up:
            self._fences.add(passed)
        else:
            passed()

    def _ask_for_fence(self) -> None:
        self._asked.append((FENCE, b""))
        self.link.write(PING)

    # -- asking Redis

    def _ask(self, verb: str, channel: bytes) -> None:
        self._asked.append((verb, channel))
        self.link.write(pack(f"{self._kind(channel)}{verb}", channel))

    def _kind(self, channel: bytes) -> str:
        """What stands before SUBSCRIBE: P for patterns of topics, nothing else."""
        return "P" if channel.startswith(self._names.live("").encode()) and is_pattern(channel.decode()) else ""

    def _answered(self, reply: object) -> None:
        """One thing that was asked has its answer: a confirmation, a pong or an error."""
        verb, channel = self._asked.popleft()
        if isinstance(reply, Exception) and is_unauthenticated(error := reply_error(reply)):
            self.link.drop(str(error))
        elif verb == FENCE:
            self._fences.answered()
        elif verb == "PING":  # an error, too, is a sign of life
            self.link.ponged()
        elif verb == "SUBSCRIBE" and self.wants(channel):  # if not it was left before the answer came
            if isinstance(reply, Exception):
                self._deny(channel, reply)
            else:
                self._allow(channel)
        if verb != "PING" or not self._asked:
            self._notify()

    def _allow(self, channel: bytes) -> None:
        self._confirmed.add(channel)
        if self._denied.pop(channel, None) is not None:
            log.info("Redis allows us to subscribe to %s again", channel.decode())

    def _deny(self, channel: bytes, reply: Exception) -> None:
        if channel not in self._denied:
            log.error("Redis forbids us to subscribe to %s: %s", channel.decode(), reply)
        self._denied[channel] = str(reply)
        if self._retrying is None:
            self._retrying = asyncio.get_running_loop().call_later(DENIED_DELAY, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        if self.link.is_up:
            for channel in sorted(self._denied):
                self._ask("SUBSCRIBE", channel)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._told.answered()

    # -- as the owner of its link

    async def link_up(self) -> None:
        """Subscribe to all that is wanted, one command each, and wait for every answer."""
        self._reader = hiredis.Reader()
        self._asked.clear()
        self._confirmed.clear()
        for channel in sorted(self.wanted):
            self._ask("SUBSCRIBE", channel)
        self.link_ping()
        while self._asked:
            await self._changed.wait()

    def link_ready(self) -> None:
        """All is subscribed to that may be; what was wanted since the greeting has yet to be asked for."""
        for channel in sorted(self.wanted - self._confirmed - self._denied.keys()):
            self._ask("SUBSCRIBE", channel)
        self._notify()
        self._told.ready(self)

    def link_lost(self, reason: str) -> None:
        """What is published from now until the next connection passes us by."""
        is_gap = bool(self._confirmed)
        self._asked.clear()
        self._confirmed.clear()
        fences = self._fences.end()
        self._told.lost(self, reason, is_gap)
        for passed in fences:
            passed()

    def link_writable(self) -> None:
        """Nothing waits to be written here."""

    def link_ping(self) -> None:
        """The link wants a sign of life. Its answer comes behind all messages that are under way."""
        self._asked.append(("PING", b""))
        self.link.write(PING)

    def link_received(self, data: bytes) -> None:
        """Read one buffer, then let the workers have their turn, unless we are so late that Redis may cut us off."""
        reader = self._reader
        reader.feed(data)
        gets = reader.gets
        messages: defaultdict[bytes, list[list[bytes]]] = defaultdict(list)  # by what Redis says we asked for
        kind = wanted = b""
        pile: list[list[bytes]] = []
        while (item := gets()) is not False:
            if item.__class__ is list and item[1] == wanted and item[0] == kind:
                pile.append(item)
            elif item.__class__ is list and len(item) > 2 and item[0] in _MESSAGES:
                kind, wanted = item[0], item[1]
                pile = messages[wanted]
                pile.append(item)
            else:
                self._answered(item)
        if messages:
            self._deliver(messages)
        if len(data) >= FULL_READ:
            self._give_way()
        self._after_messages()

    def _after_messages(self) -> None:
        """What has to come behind the messages of the same buffer."""
        self._fences.let_pass()

    def _give_way(self) -> None:
        if (now := time.monotonic()) > self._asked_at + ASK:
            self._asked_at = now
            self.link.ping()
        self._unpaused += 1
        if self.link.lateness < LATE or self._unpaused >= READ_ON:
            self._unpaused = 0
            self.link.pause_reading()
            asyncio.get_running_loop().call_soon(self.link.resume_reading)

    def _deliver(self, messages: Mapping[bytes, list[list[bytes]]]) -> None:
        """Messages first: a beat says what was sent last, and must not be heard before what was sent before it."""
        for wanted, items in messages.items():
            for subscription in self._subscriptions.get(wanted, ()):  # each decodes: a handler may change what it got
                subscription.receive(items, self._topics)
        for wanted, items in messages.items():
            if wanted in self._listeners:
                for item in items:
                    self._tell(wanted, item[-1])

    def _tell(self, wanted: bytes, body: bytes) -> None:
        for listener in tuple(self._listeners.get(wanted, ())):
            try:
                listener(body)
            except Exception:
                log.exception("a listener on %s failed", wanted.decode())
