"""What a process sends: a spool that any thread may fill, and a carrier that empties it over a link of its own.

All that was sent during one turn of the loop leaves in one write. A message stays here until Redis has answered for
it; what a lost connection left unanswered is sent again first, in order, and receivers drop what they had already.
While Redis is away the outbox spools.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain

from ..burst import Burst
from ..errors import UNCONFIRMED, RedisUnavailable, Refused, Unconfirmed, Undelivered
from .carrier import Carrier
from .endpoint import Endpoint
from .link import pack
from .outgoing import Entry, Fate
from .spool import Spool
from .translation import is_unauthenticated, reply_error

log = logging.getLogger("hivemind.outbox")

COMPLAIN = 60.0  #: seconds between two complaints about refused messages
REMEMBERED = 1000  #: refusals that are remembered until somebody flushes


class Closed(Exception):
    """The outbox was closed while somebody waited."""


class Outbox:
    """The sending half of a process on the bus.

    ``refused`` counts messages that Redis would not take; ``sent``, ``dropped`` and ``waiting`` are the spool's.
    ``send(topic, body)`` queues one message, from any thread: see ``Spool.add``.
    """

    def __init__(self, endpoint: Endpoint, name: str, spool: Spool, carrier: Carrier | None = None) -> None:
        self.carrier = carrier or Carrier(endpoint, name, spool, self)
        self.link = self.carrier.link
        self.spool = spool
        self.send = spool.add
        self.refused = 0
        self.guard: Callable[[], bool] | None = None  # says whether messages may be written now
        self.on_up: Callable[[], None] | None = None  # called when a connection is made
        spool.wake = self._wake
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._drops_seen = 0
        self._closed = False
        self._failures: deque[tuple[int, Undelivered]] = deque(maxlen=REMEMBERED)
        self._progress = asyncio.Event()
        self._complaints = Burst(COMPLAIN)

    def start(self) -> None:
        """Begin to connect and to send. Call it on the event loop that will carry the link."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self.spool.begin()
        self.carrier.start()
        self.resume()

    async def aclose(self) -> None:
        """Close the link. What is still here is lost: flush before. May be called twice."""
        self._closed = True
        self.spool.close()
        await self.carrier.aclose()
        self._wake_waiters()

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

    def release(self, topics: Iterable[str]) -> None:
        """Hold the messages of these topics no longer. On the loop only."""
        self.spool.release(topics)
        self._wake_waiters()
        self.resume()

    def resume(self) -> None:
        """Look again, on the loop, whether something may be written: a guard may have changed its mind."""
        self.spool.rouse()

    def _wake(self) -> None:
        if self._loop is None or self._closed:
            return
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._turn)
        else:
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        """Something was handed over, or may be written now."""
        self.spool.attend()
        if self._drops_seen != self.dropped:
            self._drops_seen = self.dropped
            self._wake_waiters()
        self.carrier.flush()

    # -- waiting for Redis

    async def drain(self) -> None:
        """Give the loop a turn, and return when no more than half of the outbox is taken, or it is closed."""
        await asyncio.sleep(0)
        while not self.spool.is_roomy and not self._closed:
            await self._progress.wait()

    async def flush(self, timeout: float) -> None:
        """Return when Redis has confirmed all that was sent before.

        Raises Refused when it would not take some of it (the last 1,000 such messages at most are named), Unconfirmed
        when ``timeout`` seconds were not enough, or the outbox was closed.
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
        oldest = next(self.carrier.under_way(), None) or self.spool.first()
        return oldest is not None and oldest[3] <= target

    async def _until(self, check: Callable[[], bool]) -> None:
        while not check():
            if self._closed:
                raise Closed
            await self._progress.wait()

    def _pending(self, target: int, held: dict[str, int]) -> list[Undelivered]:
        found = [(topic, number) for _, topic, number, index in self._here() if index <= target]
        why = self._why()
        return [Undelivered(topic, number, why) for topic, number in found + self.spool.held(held)]

    def _why(self) -> str:
        """Why messages are not confirmed, in words."""
        return self.link.last_error or UNCONFIRMED

    def _here(self) -> Iterable[Entry]:
        """All messages that have a number and no answer, in order."""
        return chain(self.carrier.under_way(), self.spool.queued())

    def _wake_waiters(self) -> None:
        """Wake those who wait in ``drain`` and ``flush``: they look for themselves."""
        self._progress.set()
        self._progress = asyncio.Event()

    # -- as the keeper of what is carried

    def may_write(self) -> bool:
        """Whether messages may be written now."""
        return self.guard is None or self.guard()

    def done(self, entries: list[Entry]) -> None:
        """These count no more."""
        sizes = [len(entry[0]) for entry in entries if entry[1]]
        self.spool.settle(len(sizes), sum(sizes))

    def refused_by(self, carrier: Carrier, entry: Entry, reply: object) -> Fate:  # noqa: ARG002 - it matters where there are many
        """Note that a message was refused, unless Redis only cannot take it yet."""
        _, topic, sequence, index = entry
        if not topic:
            return Fate.DONE
        error = reply_error(reply)
        if isinstance(error, RedisUnavailable) or is_unauthenticated(error):
            return Fate.AGAIN
        self.refused += 1
        self._failures.append((index, Undelivered(topic, sequence, str(error))))
        if self._complaints.first() is not None:
            log.error("Redis refuses messages on topic %r: %s (%d so far)", topic, error, self.refused)
        return Fate.DONE

    def heard(self) -> None:
        """Somebody may wait for what was answered."""
        self._wake_waiters()

    def ready(self, carrier: Carrier) -> None:
        """Say that the home is there."""
        if carrier is self.carrier and self.on_up is not None:
            self.on_up()

    def lost(self, carrier: Carrier) -> None:
        """It is tried again."""
