"""What a process sends: a spool that any thread may fill, and one link that empties it.

All that was sent during one turn of the loop leaves in one write. A message stays here until Redis has answered for
it; what a lost connection left unanswered is sent again first, in order, and receivers drop what they had already.
While Redis is away the outbox spools.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

import hiredis

from ..errors import RedisError, RedisUnavailable, Refused, Unconfirmed, Undelivered
from .endpoint import Endpoint, is_unauthenticated, reply_error
from .link import BACKOFF_CAP, PING, Link, pack
from .outgoing import Asked, Batch, Entry
from .spool import Spool

log = logging.getLogger("hivemind.outbox")

SETTLE = 2 * BACKOFF_CAP  #: seconds that the spool waits after a re-made link, so that subscribers are back first
WRITE = 256 * 1024  #: bytes of commands in one write, about
COMPLAIN = 10.0  #: seconds between two complaints about refused messages
_NUMBERS = b":0123456789\r\n"  #: what replies consist of as long as Redis takes every message


class Closed(Exception):
    """The outbox was closed while somebody waited."""


class Outbox:
    """The sending half of a process on the bus, over a link of its own.

    ``refused`` counts messages that Redis would not take; ``sent``, ``dropped`` and ``waiting`` are the spool's.
    ``send(topic, body)`` queues one message, from any thread: see ``Spool.add``.
    """

    def __init__(self, endpoint: Endpoint, name: str, spool: Spool) -> None:
        self.link = Link(endpoint, name, self)
        self.spool = spool
        self.send = spool.add
        spool.wake = self._wake
        self.refused = 0
        self.guard: Callable[[], bool] | None = None  # says whether messages may be written now
        self.on_up: Callable[[], None] | None = None  # called when a connection is made
        self._loop: asyncio.AbstractEventLoop | None = None
        self._urgent: deque[Asked] = deque()
        self._unanswered: deque[Batch | Asked] = deque()
        self._commands = 0  # how many of the unanswered are no batches
        self._drops_seen = 0
        self._closed = False
        self._settling: asyncio.TimerHandle | None = None
        self._reader = hiredis.Reader()
        self._failures: deque[tuple[int, Undelivered]] = deque(maxlen=1000)
        self._progress = asyncio.Event()
        self._complained = -COMPLAIN

    def start(self) -> None:
        """Begin to connect and to send. Call it on the event loop that will carry the link."""
        self._loop = asyncio.get_running_loop()
        self.spool.begin()
        self.link.start()
        self.resume()

    async def aclose(self) -> None:
        """Close the link. What is still here is lost: flush before. May be called twice."""
        self._closed = True
        self.spool.close()
        self._stop_settling()
        await self.link.aclose()
        self._fail_commands("the outbox is closed")
        self._moved()

    @property
    def sent(self) -> int:
        """How many messages were handed over."""
        return self.spool.sent

    @property
    def dropped(self) -> int:
        """How many messages policy ``drop-oldest`` threw away."""
        return self.spool.dropped

    @property
    def waiting(self) -> int:
        """How many messages are here and not answered for."""
        return self.spool.waiting

    # -- handing over

    def publish(self, channel: str, body: bytes) -> None:
        """Queue a notice of ours behind the messages sent so far; nobody waits for its answer. On the loop only."""
        self.spool.add_notice(pack("PUBLISH", channel, body))
        self.resume()

    def command(self, *arguments: str | bytes | int | float) -> asyncio.Future[Any]:
        """Send one command of ours ahead of waiting messages; the future gives its reply. On the loop only.

        It fails with RedisUnavailable when the link is down or gets lost: commands are never sent twice.
        """
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.link.is_up:
            self._urgent.append(Asked(pack(*arguments), reply))
            self.resume()
        else:
            reply.set_exception(RedisUnavailable(f"{self.link.endpoint.redacted}: not connected"))
        return reply

    def release(self, topics: Iterable[str]) -> None:
        """Hold the messages of these topics no longer. On the loop only."""
        self.spool.release(topics)
        self._moved()
        self.resume()

    def resume(self) -> None:
        """Look again, on the loop, whether something may be written: a guard may have changed its mind."""
        if not self.spool.is_awake:
            self.spool.is_awake = True
            self._wake()

    def _wake(self) -> None:
        if self._loop is None or self._closed:
            return
        if threading.get_ident() == self.spool.thread:
            self._loop.call_soon(self._flush)
        else:
            self._loop.call_soon_threadsafe(self._flush)

    # -- waiting for Redis

    async def drain(self) -> None:
        """Give the loop a turn, and return when no more than half of the outbox is taken."""
        await asyncio.sleep(0)
        while not self.spool.is_roomy and not self._closed:
            await self._progress.wait()

    async def flush(self, timeout: float) -> None:
        """Return when Redis has confirmed all that was sent before.

        Raises Refused when it would not take some of it, Unconfirmed when ``timeout`` seconds were not enough.
        """
        target, held = self.spool.mark()
        try:
            async with asyncio.timeout(timeout):
                if held:
                    await self._until(lambda: not self.spool.holds(held))
                    target, held = self.spool.mark()[0], {}
                await self._until(lambda: not self._is_pending(target))
        except TimeoutError:
            raise Unconfirmed(self._pending(target, held), timeout) from None
        except Closed:
            raise Unconfirmed(self._pending(target, held), 0.0) from None
        refused = [one for index, one in self._failures if index <= target]  # shards enter theirs in no order
        if refused:
            later = [failure for failure in self._failures if failure[0] > target]
            self._failures.clear()
            self._failures.extend(later)
            raise Refused(refused)

    def _is_pending(self, target: int) -> bool:
        """Whether the oldest message that is here is one of the first ``target``."""
        oldest = next(self._under_way(), None) or self.spool.first()
        return oldest is not None and oldest[3] <= target

    async def _until(self, check: Callable[[], bool]) -> None:
        while not check():
            if self._closed:
                raise Closed
            await self._progress.wait()

    def _pending(self, target: int, held: dict[str, int]) -> list[Undelivered]:
        here = chain(self._under_way(), self.spool.queued())
        found = [(topic, number) for _, topic, number, index in here if index <= target]
        return [Undelivered(topic, number, "unconfirmed") for topic, number in found + self.spool.held(held)]

    def _under_way(self) -> Iterator[Entry]:
        """Messages that were written and have no answer."""
        for batch in self._unanswered:
            if isinstance(batch, Batch):
                yield from (entry for entry in islice(batch.entries, batch.done, None) if entry[1])

    def _done(self) -> Iterator[Entry]:
        """What was answered for, of a batch that was not to its end."""
        for batch in self._unanswered:
            if isinstance(batch, Batch):
                yield from islice(batch.entries, batch.done)

    # -- emptying, on the loop

    def _flush(self) -> None:
        self.spool.is_awake = False
        if self._drops_seen != self.dropped:
            self._drops_seen = self.dropped
            self._moved()
        if not self.link.is_up:
            return
        chunks = []
        while self._urgent:
            asked = self._urgent.popleft()
            self._expect(asked)
            chunks.append(asked.command)
        if self.spool and self._may_write():
            entries = self.spool.take(WRITE)
            if entries:  # what was there may be held
                self._unanswered.append(Batch(entries))
                chunks += [entry[0] for entry in entries]
            if self.spool:
                self.resume()
        if chunks:
            self.link.write(b"".join(chunks))

    def _may_write(self) -> bool:
        return self.link.is_writable and self._settling is None and (self.guard is None or self.guard())

    def _expect(self, asked: Asked) -> None:
        self._unanswered.append(asked)
        self._commands += 1

    # -- as the owner of its link

    async def link_up(self) -> None:
        """A new connection counts when it has answered; then commands go at once, the spool a little later."""
        self._reader = hiredis.Reader()
        pong: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._expect(Asked(PING, pong))
        self.link.write(PING)
        try:
            await pong
        except RedisError as error:  # any answer is a sign of life, but for these
            if isinstance(error, RedisUnavailable) or is_unauthenticated(error):
                raise

    def link_ready(self) -> None:
        """Commands go out again; messages, too, if subscribers need no time to come back first."""
        self._stop_settling()
        if not self.link.is_first:
            self._settling = asyncio.get_running_loop().call_later(SETTLE, self._settled)
        self.resume()
        if self.on_up is not None:
            self.on_up()

    def link_lost(self, reason: str) -> None:
        """Put what has no answer back in front, in its order; commands fail."""
        self._stop_settling()
        self._settle(list(self._done()))
        self.spool.put_back(list(self._under_way()))
        self._fail_commands(reason)

    def link_writable(self) -> None:
        """The socket takes more."""
        self.resume()

    def link_ping(self) -> None:
        """The link wants a sign of life."""
        self._expect(Asked(PING))
        self.link.write(PING)

    def link_received(self, data: bytes) -> None:
        """Replies: one for each command that was written, in order.

        While all goes well they are numbers, and counting lines is all that is to be done.
        """
        reader = self._reader
        if not self._commands and data[-1] == 10 and not data.translate(None, _NUMBERS) and not reader.has_data():
            self._advance(data.count(b"\n"))
        else:
            reader.feed(data)
            self._read(reader)
        self._moved()

    def _read(self, reader: hiredis.Reader) -> None:
        """Take one reply after the other."""
        while (reply := reader.gets()) is not False:
            oldest = self._unanswered[0]
            if isinstance(oldest, Asked):
                self._unanswered.popleft()
                self._commands -= 1
                self._answer(oldest, reply)
            elif reply.__class__ is int or self._refuse(oldest.entries[oldest.done], reply):
                self._advance(1)
            else:
                break

    def _advance(self, replies: int) -> None:
        """So many messages and notices are done. What was written at once is settled at once."""
        while replies:
            batch = self._unanswered[0]
            assert isinstance(batch, Batch)
            done = min(replies, batch.left)
            batch.done += done
            replies -= done
            if not batch.left:
                self._unanswered.popleft()
                self._settle(batch.entries)

    def _settle(self, entries: list[Entry]) -> None:
        sizes = [len(entry[0]) for entry in entries if entry[1]]
        self.spool.settle(len(sizes), sum(sizes))

    def _answer(self, asked: Asked, reply: object) -> None:
        if asked.reply is None:
            self.link.ponged()
        elif not asked.reply.done():
            if isinstance(reply, Exception):
                asked.reply.set_exception(reply_error(reply))
            else:
                asked.reply.set_result(reply)

    def _refuse(self, entry: Entry, reply: object) -> bool:
        """Note that a message was refused; False when Redis only cannot take it yet: then all goes again."""
        _, topic, sequence, index = entry
        if not topic:
            return True
        error = reply_error(reply)
        if isinstance(error, RedisUnavailable) or is_unauthenticated(error):
            self.link.drop(str(error))
            return False
        self.refused += 1
        self._failures.append((index, Undelivered(topic, sequence, str(error))))
        if time.monotonic() - self._complained > COMPLAIN:
            self._complained = time.monotonic()
            log.error("Redis refuses messages on topic %r: %s (%d so far)", topic, error, self.refused)
        return True

    def _moved(self) -> None:
        """Wake those who wait in ``drain`` and ``flush``: they look for themselves."""
        self._progress.set()
        self._progress = asyncio.Event()

    def _settled(self) -> None:
        self._settling = None
        self.resume()

    def _stop_settling(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def _fail_commands(self, reason: str) -> None:
        error = RedisUnavailable(f"{self.link.endpoint.redacted}: {reason}")
        for asked in (*self._unanswered, *self._urgent):
            if isinstance(asked, Asked) and asked.reply is not None and not asked.reply.done():
                asked.reply.set_exception(error)
        self._unanswered.clear()
        self._urgent.clear()
        self._commands = 0
