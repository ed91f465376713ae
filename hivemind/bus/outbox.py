"""What a process sends: a bounded queue that any thread may fill and one link empties.

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
from collections.abc import Callable
from itertools import chain, islice
from typing import Any, cast

import hiredis

from ..errors import OutboxFull, RedisError, RedisUnavailable, Refused, Unconfirmed, Undelivered
from ..message import head
from ..topics import Names, check_topic
from .endpoint import Endpoint, is_unauthenticated, reply_error
from .link import BACKOFF_CAP, PING, Link, pack
from .outgoing import OutboxOptions, Topic

log = logging.getLogger("hivemind.outbox")

SETTLE = 2 * BACKOFF_CAP  #: seconds that the spool waits after a re-made link, so that subscribers are back first
WRITE = 256 * 1024  #: bytes of commands in one write, about
TOLD = 1000  #: topics in one report of what was sent last
COMPLAIN = 10.0  #: seconds between two complaints about refused messages


#: command, topic ("" for what is no message), sequence, and the how-manieth message it is, or who wants the reply
Entry = tuple[bytes, str, int, "int | asyncio.Future[Any] | None"]
_NOTICE, _ECHO = -1, 0  # in place of a sequence, where there is no topic


class Outbox:
    """The sending half of a process on the bus, over a link of its own.

    ``sent`` counts messages handed over, ``refused`` those that Redis would not take, ``dropped`` those that policy
    ``drop-oldest`` threw away, ``waiting`` those without an answer.
    """

    def __init__(self, endpoint: Endpoint, name: str, names: Names, options: OutboxOptions | None = None) -> None:
        self.options = options or OutboxOptions()
        self._most, self._most_bytes = self.options.messages, self.options.size
        self.link = Link(endpoint, name, self)
        self.sent = self.refused = self.dropped = 0
        self.guard: Callable[[], bool] | None = None  # says whether messages may be written now
        self.on_up: Callable[[], None] | None = None  # called when a connection is made
        self._names = names
        self._head = b""
        self._topics: dict[str, Topic] = {}  # those used last come last
        self._untold: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._queue: deque[Entry] = deque()
        self._urgent: deque[Entry] = deque()
        self._unanswered: deque[Entry] = deque()
        # Each counter is written in one place only: under the lock (in, dropped) or on the loop (out, answered).
        self._bytes_in = self._bytes_out = self._answered = 0
        self._drops_seen = 0
        self._scheduled = self._closed = False
        self._settling: asyncio.TimerHandle | None = None
        self._reader = hiredis.Reader()
        self._failures: deque[tuple[int, Undelivered]] = deque(maxlen=1000)
        self._progress = asyncio.Event()
        self._complained = -COMPLAIN

    def start(self) -> None:
        """Begin to connect and to send. Call it on the event loop that will carry the link."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.link.start()

    def identify(self, instance: str, incarnation: int) -> None:
        """Say who sends. Sequences begin anew with another incarnation."""
        new = head(instance, incarnation)
        with self._lock:
            if new != self._head:
                self._head = new
                self._topics.clear()
                self._untold.clear()

    async def aclose(self) -> None:
        """Close the link. What is still here is lost: flush before. May be called twice."""
        with self._lock:
            self._closed = True
            self._room.notify_all()
        self._stop_settling()
        await self.link.aclose()
        self._fail_commands("the outbox is closed")
        self._moved()

    # -- handing over

    def send(self, topic: str, body: bytes) -> int:
        """Queue one message, from any thread, and return its sequence. ``body`` is what ``encode_payload`` made.

        Waits on a thread while the outbox is full; raises OutboxFull on the loop, or as the policy says.
        """
        with self._lock:
            if self.waiting >= self._most or self._bytes_in - self._bytes_out >= self._most_bytes:
                self._make_room()
            known = self._topics.get(topic) or self._new_topic(topic)
            known.sequence = sequence = known.sequence + 1
            if known.is_told:
                known.is_told = False
                self._untold.append(topic)
            start = self._head % (sequence, time.time())
            command = b"%b%d\r\n%b%b}\r\n" % (known.command, len(start) + len(body) + 1, start, body)
            self.sent += 1
            self._queue.append((command, topic, sequence, self.sent))
            self._bytes_in += len(command)
            if self._scheduled:
                return sequence
            self._scheduled = True
        self._wake()
        return sequence

    def publish(self, channel: str, body: bytes) -> None:
        """Queue a notice of ours behind the messages sent so far; nobody waits for its answer. On the loop only."""
        self._queue.append((pack("PUBLISH", channel, body), "", _NOTICE, None))
        self.resume()

    def command(self, *arguments: str | bytes | int | float) -> asyncio.Future[Any]:
        """Send one command of ours ahead of waiting messages; the future gives its reply. On the loop only.

        It fails with RedisUnavailable when the link is down or gets lost: commands are never sent twice.
        """
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.link.is_up:
            self._urgent.append((pack(*arguments), "", _NOTICE, reply))
            self.resume()
        else:
            reply.set_exception(RedisUnavailable(f"{self.link.endpoint.redacted}: not connected"))
        return reply

    def last_sequences(self) -> list[dict[str, int]]:
        """The number of the last message on each topic, in portions of TOLD topics: on all topics used since the last
        call, and on those used last before, because what was told may have been lost.
        """
        with self._lock:
            untold, self._untold = self._untold, []
            for name in untold:
                self._topics[name] = known = self._topics.pop(name)
                known.is_told = True
            names = list(islice(reversed(self._topics), max(TOLD, len(untold))))
            last = [(name, self._topics[name].sequence) for name in names]
        return [dict(last[start : start + TOLD]) for start in range(0, len(last), TOLD)] or [{}]

    def _new_topic(self, topic: str) -> Topic:
        known = self._topics[topic] = Topic(self._names.live(check_topic(topic)))
        return known

    @property
    def waiting(self) -> int:
        """How many messages are here and not answered for."""
        return self.sent - self.dropped - self._answered

    @property
    def _bytes(self) -> int:
        return self._bytes_in - self._bytes_out

    @property
    def _is_full(self) -> bool:
        return self.waiting >= self._most or self._bytes >= self._most_bytes

    @property
    def _is_roomy(self) -> bool:
        return self.waiting <= self._most // 2 and self._bytes <= self._most_bytes // 2

    def _make_room(self) -> None:
        """Called under the lock when the outbox is full."""
        policy = self.options.policy
        if policy == "drop-oldest":
            while self._is_full and self._queue:  # what is under way cannot be taken back
                command, topic, _, _ = self._queue.popleft()
                if topic:
                    self._bytes_in -= len(command)
                    self.dropped += 1
        elif policy == "block" and threading.get_ident() != self._thread:
            self._room.wait_for(lambda: self._closed or not self._is_full)
            if self._closed:
                raise OutboxFull("the outbox was closed while a message waited for room")
        else:
            hint = "await drain() between sends" if policy == "block" else f"the policy is {policy!r}"
            raise OutboxFull(f"{self.waiting:,} messages ({self._bytes:,} bytes) wait for Redis; {hint}")

    def _wake(self) -> None:
        if self._loop is None or self._closed:
            return
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._flush)
        else:
            self._loop.call_soon_threadsafe(self._flush)

    def resume(self) -> None:
        """Look again, on the loop, whether something may be written: a guard may have changed its mind."""
        if not self._scheduled:
            self._scheduled = True
            self._wake()

    # -- waiting for Redis

    async def drain(self) -> None:
        """Give the loop a turn, and return when no more than half of the outbox is taken."""
        await asyncio.sleep(0)
        while not self._is_roomy and not self._closed:
            await self._progress.wait()

    async def flush(self, timeout: float) -> None:
        """Return when Redis has confirmed all that was sent before.

        Raises Refused when it would not take some of it, Unconfirmed when ``timeout`` seconds were not enough.
        """
        target = self.sent
        try:
            async with asyncio.timeout(timeout):
                while self._is_pending(target):
                    if self._closed:
                        raise Unconfirmed(self._pending(target), 0.0)
                    await self._progress.wait()
        except TimeoutError:
            raise Unconfirmed(self._pending(target), timeout) from None
        refused = []
        while self._failures and self._failures[0][0] <= target:
            refused.append(self._failures.popleft()[1])
        if refused:
            raise Refused(refused)

    def _is_pending(self, target: int) -> bool:
        """Whether the oldest message that is here is one of the first ``target``."""
        with self._lock:
            here = chain(self._unanswered, self._queue)
            return next((cast(int, index) for _, topic, _, index in here if topic), target + 1) <= target

    def _pending(self, target: int) -> list[Undelivered]:
        with self._lock:
            here = [entry for entry in chain(self._unanswered, self._queue) if entry[1]]
        return [Undelivered(topic, number, "unconfirmed") for _, topic, number, at in here if cast(int, at) <= target]

    # -- emptying, on the loop

    def _flush(self) -> None:
        self._scheduled = False
        if self._drops_seen != self.dropped:
            self._drops_seen = self.dropped
            self._moved()
        if not self.link.is_up:
            return
        chunks = []
        while self._urgent:
            entry = self._urgent.popleft()
            self._unanswered.append(entry)
            chunks.append(entry[0])
        if self._queue and self._may_write():
            self._take(chunks)
            if self._queue:
                self.resume()
        if chunks:
            self.link.write(b"".join(chunks))

    def _may_write(self) -> bool:
        return self.link.is_writable and self._settling is None and (self.guard is None or self.guard())

    def _take(self, chunks: list[bytes]) -> None:
        room, queue, unanswered = WRITE, self._queue, self._unanswered
        with self._lock:
            while queue and room > 0:
                entry = queue.popleft()
                unanswered.append(entry)
                chunks.append(entry[0])
                room -= len(entry[0])

    # -- as the owner of its link

    async def link_up(self) -> None:
        """A new connection counts when it has answered; then commands go at once, the spool a little later."""
        self._reader = hiredis.Reader()
        pong: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._unanswered.append((PING, "", _NOTICE, pong))
        self.link.write(PING)
        try:
            await pong
        except RedisError as error:  # any answer is a sign of life, but for these
            if isinstance(error, RedisUnavailable) or is_unauthenticated(error):
                raise

    def link_ready(self) -> None:
        """Commands go out again; messages, too, if subscribers need no time to come back first."""
        if not self.link.is_first:
            self._settling = asyncio.get_running_loop().call_later(SETTLE, self._settled)
        self.resume()
        if self.on_up is not None:
            self.on_up()

    def link_lost(self, reason: str) -> None:
        """Put what has no answer back in front, in its order; commands fail."""
        self._stop_settling()
        messages = [entry for entry in self._unanswered if entry[1]]
        self._fail_commands(reason)
        with self._lock:
            self._queue.extendleft(reversed(messages))

    def link_writable(self) -> None:
        """The socket takes more."""
        self.resume()

    def link_ping(self) -> None:
        """The link wants a sign of life."""
        self._unanswered.append((PING, "", _ECHO, None))
        self.link.write(PING)

    def link_received(self, data: bytes) -> None:
        """Replies: one for each entry that was written, in order."""
        reader, unanswered, answered, size = self._reader, self._unanswered, 0, 0
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            entry = unanswered.popleft()
            if not entry[1]:
                self._answer(entry, reply)
            elif reply.__class__ is int or self._refuse(entry, reply):
                answered += 1
                size += len(entry[0])
            else:
                break
        if answered:
            self._settle(answered, size)

    def _answer(self, entry: Entry, reply: object) -> None:
        _, _, kind, future = entry
        if kind == _ECHO:
            self.link.ponged()
        if not isinstance(future, asyncio.Future) or future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(reply_error(reply))
        else:
            future.set_result(reply)

    def _refuse(self, entry: Entry, reply: object) -> bool:
        """Note that a message was refused; False when Redis only cannot take it yet: then all goes again."""
        error = reply_error(reply)
        if isinstance(error, RedisUnavailable) or is_unauthenticated(error):
            self._unanswered.appendleft(entry)
            self.link.drop(str(error))
            return False
        _, topic, sequence, index = entry
        self.refused += 1
        self._failures.append((cast(int, index), Undelivered(topic, sequence, str(error))))
        if time.monotonic() - self._complained > COMPLAIN:
            self._complained = time.monotonic()
            log.error("Redis refuses messages on topic %r: %s (%d so far)", topic, error, self.refused)
        return True

    def _settle(self, answered: int, size: int) -> None:
        self._answered += answered
        self._bytes_out += size
        self._moved()
        if self._is_roomy:
            with self._lock:
                self._room.notify_all()

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
        for _, _, _, future in (*self._unanswered, *self._urgent):
            if isinstance(future, asyncio.Future) and not future.done():
                future.set_exception(error)
        self._unanswered.clear()
        self._urgent.clear()
