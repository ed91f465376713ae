"""`hm tail`: shows what passes by, as fast as it comes, without any node noticing.

::

    live link ─► an inbox a pattern ─► lines of many messages ─► Writer ─► standard output, or a file
    streams   ─► (first)                                         a thread

A slow reader of standard output only fills the inboxes: Redis never cuts us off for it, and what is dropped is told.
`hm record` is the same with another form of lines.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..burst import Burst
from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..bus.inbox import Inbox
from ..bus.receiving import LiveSubscription
from ..data.kept_watch import KeptWatch
from ..data.onlooker import Onlooker
from ..data.registry import Registry
from ..english import amount, size_of
from ..errors import RedisDenied, RedisError
from ..message import Envelope, envelope_of
from ..node.runner import ensure_redis, new_loop
from ..picture.traffic import Hints, traffic
from ..settings import Settings
from ..states import LinkState
from ..topics import is_topic, matches
from . import output
from .forms import Form, shower, text_of
from .past import Past
from .reading import quiet
from .streams import Writer, stop_on_signals

BATCH = 2000  #: messages that are written at once
PATIENCE = 1.0  #: seconds without Redis after which we say that we wait for it
GOODBYE = 2.0  #: seconds after Ctrl-C in which what was received is still shown


#: when it came in unix seconds (None: now), topic, envelope, payload, and all of it as it came or as it was read ->
#: one line with its end
Line = Callable[[float | None, str, Envelope, Any, bytes | Envelope], bytes]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show: messages that match a pattern and have ``grep`` in topic or payload, ``count`` of them (0: all),
    for so many ``seconds`` (0: until it is stopped); first what is kept ``since``.
    """

    patterns: tuple[str, ...]
    grep: str = ""
    count: int = 0
    since: str = "new"
    seconds: float = 0.0


def tail(settings: Settings, wanted: Wanted, form: Form) -> None:
    """Show messages until Ctrl-C, SIGTERM, or enough of them; then the summary. Raises RedisDenied."""
    show = shower(form)
    output.note(follow(settings, wanted, lambda _, topic, envelope, payload, __: show(topic, envelope, payload)))


def follow(settings: Settings, wanted: Wanted, line: Line, file: int | None = None) -> str:
    """Write messages to a file descriptor, or to standard output, as ``tail``; return the summary.

    Raises RedisDenied, and OSError when nobody reads us any more, or the disk is full.
    """
    quiet()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_follow(settings, wanted, line, file))


async def _follow(settings: Settings, wanted: Wanted, line: Line, file: int | None) -> str:
    stop = asyncio.Event()
    stop_on_signals(stop)
    endpoint = Endpoint.parse(await asyncio.to_thread(ensure_redis, settings), settings.var)
    async with Bus(endpoint, settings.name, f"hm-tail-{secrets.token_hex(4)}.0") as bus:
        following = Tail(bus, wanted, stop, line, Writer(file))
        await following.run()
        return following.summary()


class Tail:
    """One `hm tail` on a started bus; ``stop`` ends it. Since ``listening`` is set all of it comes."""

    def __init__(self, bus: Bus, wanted: Wanted, stop: asyncio.Event, line: Line, writer: Writer) -> None:
        self.bus, self.wanted, self.stop = bus, wanted, stop
        self.listening = asyncio.Event()
        self.shown = self.size = self.missed = 0
        patterns = list(dict.fromkeys(wanted.patterns))
        self._lives = {LiveSubscription(one): tuple(patterns[:at]) for at, one in enumerate(patterns)}
        self._line, self._writer = line, writer
        self._past = Past(bus, patterns, wanted.since)
        self._gaps = Burst(1.0)
        self._began = 0.0
        self._onlooker = Onlooker(bus) if bus.shards is not None else None
        self._kept_watch = KeptWatch(bus)

    async def run(self) -> None:
        """Subscribe, and show. Raises RedisError, and OSError when nobody reads us any more."""
        work = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self.stop.wait())
        await asyncio.wait((work, stopping), return_when="FIRST_COMPLETED")
        stopping.cancel()
        if not work.done():
            for live in self._lives:
                self.bus.live.remove(live)
            await asyncio.wait((work,), timeout=GOODBYE if self._began else 0)
            work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await self._kept_watch.stop()
        if self._onlooker is not None:
            await self._onlooker.stop()

    async def _work(self) -> None:
        await self._connected()
        if self._onlooker is not None:
            await self._onlooker.start()
        self._kept_watch.start()
        for live, earlier in self._lives.items():
            live.ledger.on_gap = partial(self._gap, earlier)
            await self.bus.subscribe(live)
        self._began = time.monotonic()
        self.bus.live.on_gap, self.bus.live.on_back = self._lost, self._back
        self.listening.set()
        output.note(f"listening to {', '.join(live.pattern for live in self._lives)}; Ctrl-C ends")
        if self.wanted.seconds:
            asyncio.get_running_loop().call_later(self.wanted.seconds, self.stop.set)
        if self.wanted.since != "new":
            await self._read_past()
        reads = (self._read(live.inbox, earlier) for live, earlier in self._lives.items())
        await asyncio.gather(self._hint(), *reads)

    async def _hint(self) -> None:
        """Say what a pattern that no node sends on is likely to mean: it may be mistyped."""
        try:
            instances = await Registry(self.bus.commands, self.bus.functions, self.bus.names).instances()
        except RedisError:
            return
        subscribed = {one.pattern for each in instances if not each.is_lost for one in each.stats.subscriptions}
        known = sorted({one.topic for one in traffic(instances).topics} | {one for one in subscribed if is_topic(one)})
        hints = Hints(known)
        for live in self._lives:
            if not any(matches(live.pattern, topic) for topic in known) and (hint := hints.near(live.pattern)):
                output.note(f"note: no node sends or hears {live.pattern}{hint}")

    async def _connected(self) -> None:
        link = self.bus.live.link
        try:
            async with asyncio.timeout(PATIENCE):
                state = await link.wait(LinkState.UP, LinkState.DENIED)
        except TimeoutError:
            output.note(f"waiting for Redis: {link.last_error or 'no answer yet'}")
            state = await link.wait(LinkState.UP, LinkState.DENIED)
        if state is LinkState.DENIED:
            raise RedisDenied(link.last_error)

    async def _read_past(self) -> None:
        """Show what is kept: what passes by meanwhile waits in the inboxes."""
        async for messages in self._past.read():
            lines = [
                self._made(one.size, one.at, one.topic, envelope_of(one.source), one.payload, one.source)
                for one in messages
                if self._is_wanted(one.topic, one.payload)
            ]
            if lines:
                await self._writer.write(b"".join(lines))
            if self._is_enough:
                self.stop.set()
                return

    async def _read(self, inbox: Inbox, earlier: tuple[str, ...]) -> None:
        while await inbox.wait():
            lines = b"".join(self._lines(inbox, earlier))
            await (self._writer.write(lines) if lines else asyncio.sleep(0))
            if self._is_enough:
                self.stop.set()
                return

    def _lines(self, inbox: Inbox, earlier: tuple[str, ...]) -> Iterator[bytes]:
        """Up to BATCH messages that shall be shown and that no ``earlier`` pattern has shown."""
        for _ in range(BATCH):
            if self._is_enough or (entry := inbox.take()) is None:
                return
            topic, payload, source, size = entry
            if (earlier and _is_shown(earlier, topic)) or not self._is_wanted(topic, payload):
                continue
            envelope = envelope_of(source)
            if not self._past.had(topic, envelope):
                yield self._made(size, None, topic, envelope, payload, source)

    def _is_wanted(self, topic: str, payload: Any) -> bool:
        grep = self.wanted.grep
        return not self._is_enough and (not grep or grep in topic or grep in text_of(payload))

    def _made(self, size: int, *message: Any) -> bytes:
        self.shown += 1
        self.size += size
        return self._line(*message)

    @property
    def _is_enough(self) -> bool:
        return 0 < self.wanted.count <= self.shown

    # -- what did not come

    def _gap(self, earlier: tuple[str, ...], topic: str, sender: str, first: int, last: int) -> None:
        if _is_shown(earlier, topic):
            return
        self.missed += last - first + 1
        if self._gaps.first() is not None:
            numbers = f"message {first}" if first == last else f"messages {first} to {last}"
            output.warn(f"gap: {numbers} of {sender} on {topic} never came")

    def _lost(self, reason: str) -> None:
        output.warn(f"Redis is away ({reason}): what is sent now may not be shown")

    def _back(self) -> None:
        output.note("Redis is back")

    def summary(self) -> str:
        """How much was shown, how fast it came, and what was not."""
        seconds = time.monotonic() - self._began if self._began else 0.0
        rate = (
            f" in {seconds:.1f} s: {self.shown / seconds:,.1f}/s, {size_of(self.size / seconds)}/s" if seconds else ""
        )
        dropped = sum(live.inbox.dropped for live in self._lives)
        malformed = sum(live.malformed for live in self._lives) + self._past.malformed
        less = ((self.missed, "missed"), (dropped, "dropped here: too slow a reader"), (malformed, "malformed"))
        parts = [f"{count:,} {what}" for count, what in less if count]
        return "; ".join([f"{amount(self.shown, 'message')}, {size_of(self.size)}{rate}", *parts])


def _is_shown(patterns: tuple[str, ...], topic: str) -> bool:
    return any(matches(pattern, topic) for pattern in patterns)
