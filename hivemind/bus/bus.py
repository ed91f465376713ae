"""One process on the bus: an outbox, live subscriptions and ordinary commands, under one name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import orjson

from ..errors import RedisDenied, Refused, Unconfirmed, Undelivered, check_seconds
from ..message import encode_headers, encode_payload
from ..retention import Retention, Tier
from ..topics import is_pattern
from .appender import BodySpool, DurableOutbox
from .commands import Commands
from .endpoint import Endpoint
from .filling import Filler
from .functions import Functions
from .home_watch import HomeWatch
from .inbox import InboxLimits
from .lanes import LanedSpool
from .live import Live
from .outage import Outage
from .outbox import Outbox
from .outgoing import OutboxOptions
from .primary import PrimaryWatch
from .receiving import LiveSubscription
from .requests import Requests
from .senders import Senders
from .sharded_live import ShardedLive
from .sharded_outbox import ShardedOutbox
from .shards import Shards
from .spool import Spool
from .streams import Home, Streams
from .watch import Watch

AHEAD = 86_400_000.0  #: milliseconds by which an incarnation may be ahead of Redis's clock: it may have been set back


@dataclass(frozen=True, slots=True)
class BusOptions:
    """How much a process may hold for others: what it sends, and what it receives."""

    outbox: OutboxOptions = field(default_factory=OutboxOptions)
    inbox: InboxLimits = field(default_factory=InboxLimits)


class Resolves(Protocol):
    """Who knows all topics, in a hive in which Redis shall hold no patterns."""

    async def resolve(self, subscription: LiveSubscription) -> None:
        """Subscribe to every topic that matches, now and for as long as the subscription is there; return when Redis
        has confirmed those that are known now.
        """


class Bus:
    """Everything a process does with Redis, in the hive ``hive``, in the name of ``instance``.

    ``send`` works from any thread; the rest belongs to the event loop on which ``start`` was called. ``identify`` has
    to be called before the first ``send``.
    """

    def __init__(self, endpoint: Endpoint, hive: str, instance: str, options: BusOptions | None = None) -> None:
        self.outage = Outage()
        self.endpoint = endpoint = endpoint.of(hive).told_to(self.outage)
        self.instance, self.incarnation = instance, 0
        self._options = options = options or BusOptions()
        self.names = endpoint.names
        self.commands = Commands(endpoint, f"hm:{instance}:cmd")
        self.shards = Shards(endpoint, self.commands) if endpoint.is_cluster else None
        self.primary: Watch | None = None
        if endpoint.is_sentinel or endpoint.is_cluster:
            self.primary = (PrimaryWatch if endpoint.is_sentinel else HomeWatch)(endpoint, self.commands)
        self.outbox: Outbox
        self.live: Live
        self._spreading: tuple[Callable[[], None], ...] = ()
        out, live = f"hm:{instance}:out", f"hm:{instance}:live"
        if self.shards is None:
            self.outbox = Outbox(endpoint, out, Spool(self.names, options.outbox))
            self.live = Live(endpoint, live, self.names)
        else:
            outbox = ShardedOutbox(endpoint, out, LanedSpool(self.names, options.outbox), self.shards)
            receiving = ShardedLive(endpoint, live, self.names, self.shards)
            self.outbox, self.live = outbox, receiving
            self._spreading = (self.shards.start, outbox.spread, receiving.spread)  # and so they are told of changes
        self.outage.waiting, self.outage.dropped = lambda: self.waiting, lambda: self.dropped
        self.commands.epoch = lambda: self.outbox.link.gaps + self.live.link.gaps  # those of the home
        self.functions = Functions(self.commands)
        self.streams = Streams(self.commands, self.functions, self.names)
        self.resolver: Resolves | None = None  # without one Redis matches patterns
        self.filler: Filler | None = None  # without one nothing that is kept is read
        self.keeping: DurableOutbox | None = None  # what goes to topics that are kept
        self._kept: set[str] = set()
        self.groups: set[str] = set()  # in which this process reads durably
        self.requests = Requests(self)
        self.senders = Senders(self.live, self.names)

    def start(self) -> None:
        """Connect, in the background; what is sent meanwhile is spooled."""
        self.outbox.start()
        self.live.start()
        self.senders.start()
        if self.primary is not None:
            self.primary.start()

    def spread(self) -> None:
        """In a Cluster, let live messages travel over all shards from now on: the hive resolves its patterns.

        May be called twice.
        """
        spreading, self._spreading = self._spreading, ()
        for begin in spreading:
            begin()

    def keep(
        self,
        topic: str,
        retention: Retention | None = None,
        confirm: Tier = Tier.SECOND,
        on_anew: Callable[[str], None] | None = None,
    ) -> None:
        """From now on append what is sent on ``topic`` to its stream, where it is kept as ``retention`` says (None:
        durably). ``flush`` returns when Redis has confirmed it at the tier ``confirm``. ``on_anew`` is called with
        the topic when its stream was removed, and what is sent goes into a new one. Called again, the last word holds.
        On the loop, after ``identify``.
        """
        if self.keeping is None:
            home = Home(self.endpoint, f"hm:{self.instance}:keep", self.names, self.functions)
            spool = BodySpool(self.names, self._options.outbox)
            spool.identify(self.instance, self.incarnation)
            self.keeping = DurableOutbox(home, spool)
            self.keeping.guard = self.outbox.guard
            self.keeping.start()
            self.outbox.send = self._send_kept_or_not
        self.keeping.keep(topic, retention or Retention(), confirm, on_anew)
        if self.outbox.spool.holds([topic]):  # until those who match it have subscribed
            self.keeping.spool.hold([topic])
        self._kept.add(topic)

    def keeps(self, topic: str) -> bool:
        """Whether what is sent on ``topic`` is appended to its stream."""
        return topic in self._kept

    def release(self, topics: Collection[str]) -> None:
        """Hold the messages of these topics no longer. On the loop only."""
        self.outbox.release(topics)
        if self.keeping is not None:
            self.keeping.release(topics)

    def _send_kept_or_not(self, topic: str, body: bytes) -> None:
        spool = self.keeping.spool if self.keeping is not None and topic in self._kept else self.outbox.spool
        spool.add(topic, body)

    def identify(self, instance: str, incarnation: int) -> None:
        """Say in whose name messages are sent from now on."""
        self.instance, self.incarnation = instance, incarnation
        self.outbox.spool.identify(instance, incarnation)
        if self.keeping is not None:
            self.keeping.spool.identify(instance, incarnation)

    async def aclose(self) -> None:
        """Close all connections. What was not flushed is lost. May be called twice."""
        self.senders.close()
        if self.primary is not None:
            await self.primary.aclose()
        if self.filler is not None:
            await self.filler.aclose()
        await self.requests.aclose()
        if self.shards is not None:
            await self.shards.aclose()
        await self.live.aclose()
        if self.keeping is not None:
            await self.keeping.aclose()
        await self.outbox.aclose()
        await self.commands.aclose()
        for _ in range(3):  # turns in which the loop really closes what was closed: it may be stopped right after
            await asyncio.sleep(0)

    # -- sending

    def send(self, topic: str, payload: Any, headers: Mapping[str, str] | None = None) -> None:
        """Hand one message over. Never waits for the network.

        Raises PayloadError, InvalidName, OutboxFull where it may not wait for room, and HivemindError before
        ``identify``.
        """
        body = encode_payload(payload)
        self.outbox.send(topic, body + encode_headers(headers) if headers else body)

    async def drain(self) -> None:
        """Give the loop a turn, and wait for room in the outbox."""
        if self.keeping is not None:
            await self.keeping.drain()
        await self.outbox.drain()

    async def flush(self, timeout: float = 10.0) -> None:
        """Return when Redis has confirmed all that was sent before, and tell receivers what the last ones were.

        Raises Refused or Unconfirmed, with the messages; of those that were refused the last 1,000 at most.
        Raises ValueError where ``timeout`` is no number of seconds.
        """
        check_seconds(timeout, "flush")
        try:
            if self.keeping is None:
                await self.outbox.flush(timeout)
            else:
                await _flush_both(self.keeping, self.outbox, timeout)
        finally:
            if self.outbox.link.is_up:  # or else each flush would leave one more here
                await self.tell_last()

    async def tell_last(self) -> None:
        """Publish on our beat channel what was sent last on each topic, behind the messages themselves."""
        said = {"n": self.instance, "e": self.incarnation, "t": time.time()}
        told = self.outbox.spool.last_sequences()
        if self.keeping is not None and not self.keeping.waiting:  # what waits there may come later than this
            told += self.keeping.spool.last_sequences()
        for last in told:
            self.outbox.publish(self.names.beat(self.instance), orjson.dumps(said | {"last": last}))
        await asyncio.sleep(0)

    @property
    def waiting(self) -> int:
        """How many messages are here and not confirmed."""
        return self.outbox.waiting + (self.keeping.waiting if self.keeping is not None else 0)

    @property
    def dropped(self) -> int:
        """How many messages were thrown away, because there was no room for them."""
        return self.outbox.dropped + (self.keeping.dropped if self.keeping is not None else 0)

    def notify(self, kind: str, notice: Mapping[str, Any]) -> None:
        """Publish a control message or a change notice."""
        self.outbox.publish(self.names.control(kind), orjson.dumps(notice))

    # -- receiving

    async def subscribe(self, subscription: LiveSubscription) -> None:
        """Subscribe and return when Redis has confirmed it.

        Raises RedisDenied when an ACL forbids it, RedisUnavailable or RedisRefused when Redis does not tell the time,
        and RedisUnavailable when the bus is closed meanwhile.
        """
        subscription.ledger.on_sender = self.watch_sender
        try:
            if self.resolver is not None and is_pattern(subscription.pattern):
                await self.resolver.resolve(subscription)
            else:
                self.live.add(subscription)
            await self.live.confirmed(subscription)
        except RedisDenied:
            subscription.begin_without()  # it will come by itself when it is allowed, and must not wait for us then
            raise
        now = await self.now()
        subscription.ledger.ready, subscription.ledger.latest = now, now + AHEAD
        if self.filler is not None:
            await self.filler.begin(subscription, now)
        else:
            subscription.begin_without()

    async def now(self) -> float:
        """Redis's time in unix milliseconds."""
        seconds, micros = await self.commands.execute("TIME")
        return int(seconds) * 1000 + int(micros) / 1000

    def watch_sender(self, name: str) -> None:
        """Listen to a sender's beats: they say what it sent last, so that a lost tail shows too."""
        self.senders.watch(name)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def _flush_both(keeping: DurableOutbox, outbox: Outbox, timeout: float) -> None:
    """Flush what is kept and what is live. What was refused is told, whatever becomes of the rest: it is told once."""
    deadline = time.monotonic() + timeout
    refused: list[Undelivered] = []
    late: list[Undelivered] = []
    for one in (keeping, outbox):
        try:
            await one.flush(max(0.0, deadline - time.monotonic()))
        except Refused as error:
            refused += error.messages
        except Unconfirmed as error:
            late += error.messages
    if refused:
        raise Refused(refused)
    if late:
        raise Unconfirmed(late, timeout)
