"""Live subscriptions: what a process receives, over one connection of its own.

Exact topics cost SUBSCRIBE, patterns PSUBSCRIBE; a ``pmessage`` names the pattern that matched, so overlapping
patterns never deliver twice to one subscription. One PSUBSCRIBE command a pattern: a pattern that an ACL forbids
must not silence the others. A resolved subscription holds exact topics, and somebody else tells of new ones.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

import hiredis

from ..errors import RedisDenied, RedisUnavailable
from ..patterns import PatternTable
from ..topics import Names, is_pattern
from .channels import ChannelTopics
from .endpoint import Endpoint, is_unauthenticated, reply_error
from .link import DENIED_DELAY, PING, Link, pack
from .receiving import LiveSubscription

log = logging.getLogger("hivemind.live")

FULL_READ = 16 * 1024  #: bytes read at once from which on the link pauses to let the workers have their turn
ASK = 0.1  #: seconds between two looks at how far behind the reading is
LATE = 0.5  #: seconds that an echo may be late before the link reads on without pausing
READ_ON = 8  #: buffers that a late link reads in a row; more would keep the workers from ever having a turn
_MESSAGES = frozenset({b"message", b"pmessage", b"smessage"})
Listener = Callable[[bytes], None]
T = TypeVar("T")


class Live:
    """The receiving half of a process on the bus.

    ``on_gap(reason)`` is called when a connection over which messages came got lost: live messages may pass by until
    the next is made; ``on_back()`` when all such connections are made again; ``on_up()`` whenever the home's is.
    """

    def __init__(self, endpoint: Endpoint, name: str, names: Names) -> None:
        self.link = Link(endpoint, name, self)
        self.on_gap: Callable[[str], None] | None = None
        self.on_back: Callable[[], None] | None = None
        self.on_up: Callable[[], None] | None = None
        self._names = names
        self._table: PatternTable[LiveSubscription] = PatternTable()
        self._channels: dict[LiveSubscription, set[bytes]] = {}  # of every subscription, what it has asked Redis for
        self._resolved: set[LiveSubscription] = set()
        self._subscriptions: dict[bytes, list[LiveSubscription]] = {}  # by channel, or by pattern of channels
        self._listeners: dict[bytes, list[Listener]] = {}
        self._topics = ChannelTopics(names)
        self._asked: deque[tuple[str, bytes]] = deque()  # what Redis has yet to answer, in order
        self._confirmed: set[bytes] = set()
        self._denied: dict[bytes, str] = {}
        self._retrying: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._away: set[Link] = set()  # connections that had a gap and are not made again
        self._closed = False
        self._reader = hiredis.Reader()
        self._unpaused = 0
        self._asked_at = 0.0

    def start(self) -> None:
        """Begin to connect."""
        self.link.start()

    async def aclose(self) -> None:
        """Close the connection; nothing comes any more, what is in an inbox stays. May be called twice."""
        if self._retrying is not None:
            self._retrying.cancel()
            self._retrying = None
        self._closed = True
        await self.link.aclose()
        self._notify()
        for subscription in self.subscriptions:
            subscription.inbox.close()

    @property
    def subscriptions(self) -> list[LiveSubscription]:
        """All of this process's live subscriptions."""
        return list(self._channels)

    @property
    def gaps(self) -> int:
        """How often a connection that was up got lost: so often live messages may have passed by."""
        return self.link.gaps

    def wanting(self, topic: str) -> list[LiveSubscription]:
        """The subscriptions whose pattern ``topic`` matches."""
        return self._table.of(topic)

    def behind(self, last: dict[str, int], enter: Callable[[dict[str, int]], None]) -> None:
        """Call ``enter`` with what a beat says was sent ``last``, behind all messages that were sent before the beat.

        Over one connection they have come before it.
        """
        enter(last)

    @property
    def denied(self) -> dict[str, str]:
        """Channels and patterns that Redis will not let us have, and what it said."""
        return {channel.decode(): reason for channel, reason in self._denied.items()}

    def add(self, subscription: LiveSubscription, *, resolved: bool = False) -> None:
        """Subscribe; nothing if that is done. ``confirmed`` waits until Redis has said yes.

        With ``resolved`` Redis is asked for nothing yet, and for exact topics only: see ``widen``.
        """
        if subscription in self._channels:
            return
        self._channels[subscription] = set()
        self._table.add(subscription.pattern, subscription)
        if resolved:
            self._resolved.add(subscription)
        else:
            self._want(subscription, subscription.pattern)

    def remove(self, subscription: LiveSubscription) -> None:
        """Unsubscribe and close the inbox: what is in it can still be taken."""
        for channel in self._channels.pop(subscription, ()):
            self._leave(self._subscriptions, channel, subscription)
        self._table.remove(subscription.pattern, subscription)
        self._resolved.discard(subscription)
        subscription.inbox.close()

    def widen(self, topics: Iterable[str]) -> set[bytes]:
        """Let resolved subscriptions have those of ``topics`` that they match; return the channels that it takes."""
        return {
            self._want_new(subscription, topic)
            for topic in topics
            for subscription in self._table.of(topic)
            if subscription in self._resolved
        }

    def _want_new(self, subscription: LiveSubscription, topic: str) -> bytes:
        """As ``_want``; a topic that comes after all that were there has begun with number 1."""
        channel = self._channel(topic)
        if subscription.ledger.is_ready and channel not in self._channels[subscription]:
            subscription.ledger.new_topics.add(topic)
        return self._want(subscription, topic)

    @property
    def resolved(self) -> list[str]:
        """The patterns of resolved subscriptions, sorted."""
        return sorted({subscription.pattern for subscription in self._resolved})

    def _want(self, subscription: LiveSubscription, topic: str) -> bytes:
        channel = self._channel(topic)
        if channel not in self._channels[subscription]:
            self._channels[subscription].add(channel)
            self._attach(channel, subscription)
        return channel

    def _channel(self, topic: str) -> bytes:
        return self._names.live(topic).encode()

    def _attach(self, channel: bytes, subscription: LiveSubscription) -> None:
        self._join(self._subscriptions, channel, subscription)

    def listen(self, channel: str, listener: Listener) -> None:
        """Call ``listener`` with the bytes of each message on one exact channel: notices and beats of ours."""
        self._join(self._listeners, channel.encode(), listener)

    def unlisten(self, channel: str, listener: Listener) -> None:
        """End what ``listen`` began."""
        self._leave(self._listeners, channel.encode(), listener)

    async def confirmed(self, subscription: LiveSubscription | None = None) -> None:
        """Return when Redis has confirmed ``subscription``, or all that is wanted. Raises RedisDenied if it forbids it,
        and RedisUnavailable when we are closed meanwhile.

        What it forbids is asked for again every few seconds, and begins to work when it is allowed.
        """
        while not self.link.is_up or not all(self._has(channel) for channel in self._of(subscription)):
            denied = [channel for channel in self._of(subscription) if self._refusal(channel)]
            if denied and self.link.is_up and not self._asked:
                reason = self._refusal(denied[0])
                raise RedisDenied(f"Redis forbids us to subscribe to {denied[0].decode()!r}: {reason}")
            await self._change()

    async def _change(self) -> None:
        """Wait for an answer of Redis, or whatever else may matter to who waits."""
        if self._closed:
            raise RedisUnavailable(f"{self.link.endpoint.redacted}: the connection was closed")
        await self._changed.wait()

    def _has(self, channel: bytes) -> bool:
        return channel in self._confirmed

    def _refusal(self, channel: bytes) -> str:
        return self._denied.get(channel, "")

    def _of(self, subscription: LiveSubscription | None) -> set[bytes]:
        return self._wanted if subscription is None else self._channels.get(subscription, set())

    async def answered(self, channels: Collection[bytes]) -> None:
        """Return when Redis has said yes or no to each of ``channels`` that is still wanted, over one connection.

        Raises RedisUnavailable when we are closed meanwhile.
        """
        while not self.link.is_up or any(self._is_open(channel) for channel in channels):
            await self._change()

    def _is_open(self, channel: bytes) -> bool:
        is_wanted = channel in self._subscriptions or channel in self._listeners
        return is_wanted and not self._has(channel) and not self._refusal(channel)

    def _join(self, table: dict[bytes, list[T]], channel: bytes, member: T) -> None:
        is_new = channel not in self._subscriptions and channel not in self._listeners
        table.setdefault(channel, []).append(member)
        if is_new and self.link.is_up:
            self._ask("SUBSCRIBE", channel)

    def _leave(self, table: dict[bytes, list[T]], channel: bytes, member: T) -> None:
        group = table.get(channel, [])
        if member in group:
            group.remove(member)
        if group or table.pop(channel, None) is None:
            return
        if channel not in self._subscriptions and channel not in self._listeners:
            self._confirmed.discard(channel)
            self._denied.pop(channel, None)
            if self.link.is_up:
                self._ask("UNSUBSCRIBE", channel)

    # -- what is wanted, and what Redis has confirmed

    @property
    def _wanted(self) -> set[bytes]:
        return {*self._subscriptions, *self._listeners}

    def _ask(self, verb: str, channel: bytes) -> None:
        is_pattern_ = channel.startswith(self._names.live("").encode()) and is_pattern(channel.decode())
        self._asked.append((verb, channel))
        self.link.write(pack(f"P{verb}" if is_pattern_ else verb, channel))

    def _answered(self, reply: object) -> None:
        """One thing that was asked has its answer: a confirmation, a pong or an error."""
        verb, channel = self._asked.popleft()
        if isinstance(reply, Exception) and is_unauthenticated(error := reply_error(reply)):
            self.link.drop(str(error))
        elif verb == "PING":  # an error, too, is a sign of life
            self.link.ponged()
        elif verb == "SUBSCRIBE" and (channel in self._subscriptions or channel in self._listeners):
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

    # -- as the owner of its link

    async def link_up(self) -> None:
        """Subscribe to all that is wanted, one command each, and wait for every answer."""
        self._reader = hiredis.Reader()
        self._asked.clear()
        self._confirmed.clear()
        for channel in sorted(self._wanted):
            self._ask("SUBSCRIBE", channel)
        self.link_ping()
        while self._asked:
            await self._changed.wait()

    def link_ready(self) -> None:
        """All is subscribed to that may be; what was wanted since the greeting has yet to be asked for."""
        for channel in sorted(self._wanted - self._confirmed - self._denied.keys()):
            self._ask("SUBSCRIBE", channel)
        self._notify()
        self._came_back(self.link)
        if self.on_up is not None:
            self.on_up()

    def link_lost(self, reason: str) -> None:
        """What is published from now until the next connection passes us by."""
        if self._confirmed:
            self._went_away(self.link, reason)
        self._asked.clear()
        self._confirmed.clear()

    def _went_away(self, link: Link, reason: str) -> None:
        self._away.add(link)
        if self.on_gap is not None:
            self.on_gap(reason)

    def _came_back(self, link: Link) -> None:
        if link in self._away:
            self._away.discard(link)
            if not self._away and self.on_back is not None:
                self.on_back()

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
