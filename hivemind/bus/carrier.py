"""Empties one source of messages over one link, and says what became of each.

All that is there in one turn of the loop leaves in one write. What a lost connection left unanswered goes back to the
source, to be sent again first, in order; receivers drop what they had already.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

import hiredis

from ..errors import RedisError, RedisUnavailable
from .endpoint import Endpoint
from .link import PING, Link
from .outgoing import Batch, Entry, Fate, Question
from .pace import QUICK_CAP
from .translation import is_unauthenticated, reply_error

GRACE = 2 * QUICK_CAP  #: seconds that messages wait after a re-made link, so that subscribers are back first
WRITE = 256 * 1024  #: bytes of commands in one write, about
_NUMBERS = b":0123456789\r\n"  #: what replies consist of as long as Redis takes every message


class Source(Protocol):
    """Where a carrier finds what it has to send."""

    def take(self, most: int) -> list[Entry]:
        """Take about ``most`` bytes."""

    def put_back(self, entries: list[Entry]) -> None:
        """Return what was taken, to be taken again in its order."""

    def __len__(self) -> int: ...


class Keeper(Protocol):
    """Who answers for the messages that carriers carry. All calls come on the event loop."""

    def may_write(self) -> bool:
        """Whether messages may be written now."""

    def done(self, entries: list[Entry]) -> None:
        """Redis has answered for these messages; what has no topic among them is none."""

    def refused_by(self, carrier: Carrier, entry: Entry, reply: object) -> Fate:
        """Redis would not take a message, or a notice: say what becomes of it."""

    def heard(self) -> None:
        """All that came at once is entered: somebody may wait for it."""

    def ready(self, carrier: Carrier) -> None:
        """A connection is made."""

    def lost(self, carrier: Carrier) -> None:
        """The connection is gone, or cannot be made; what had no answer is back in its source."""


class Carrier:
    """The owner of one link. ``resume`` makes it look whether there is something to send."""

    def __init__(self, endpoint: Endpoint, name: str, source: Source, keeper: Keeper) -> None:
        self.link = Link(endpoint, name, self)
        self._source, self._keeper = source, keeper
        self._unanswered: deque[Batch | Question] = deque()
        self._pings = 0  # how many of the unanswered are no batches
        self._is_due = self._closed = False
        self._grace: asyncio.TimerHandle | None = None
        self._reader = hiredis.Reader()

    def start(self) -> None:
        """Begin to connect."""
        self.link.start()

    async def aclose(self) -> None:
        """Close the link; what was not answered for stays so. May be called twice."""
        self._closed = True
        self._end_grace()
        await self.link.aclose()

    # -- what is under way

    def under_way(self) -> Iterator[Entry]:
        """Messages that were written and have no answer."""
        for batch in self._unanswered:
            if isinstance(batch, Batch):
                yield from (entry for entry in islice(batch.entries, batch.done, None) if entry[1])

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way."""
        return not self._unanswered

    def _answered(self) -> Iterator[Entry]:
        """What was answered for, of a batch that was not to its end."""
        for batch in self._unanswered:
            if isinstance(batch, Batch):
                yield from islice(batch.entries, batch.done)

    # -- writing

    def resume(self) -> None:
        """Look, in the next turn of the loop, whether something may be written."""
        if not self._is_due and not self._closed:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what is there, as far as it may be written."""
        self._is_due = False
        if not self._source or not self._may_write():
            return
        entries = self._source.take(WRITE)
        if entries:  # what was there may be held
            self._unanswered.append(Batch(entries))
            self.link.write(b"".join([entry[0] for entry in entries]))
        if self._source:
            self.resume()

    def _may_write(self) -> bool:
        return self.link.is_up and self.link.is_writable and self._grace is None and self._keeper.may_write()

    def _grace_over(self) -> None:
        self._grace = None
        self.resume()

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    # -- as the owner of its link

    async def link_up(self) -> None:
        """A new connection counts when it has answered."""
        self._reader = hiredis.Reader()
        pong: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._ping(pong)
        try:
            await pong
        except RedisError as error:  # any answer is a sign of life, but for these
            if isinstance(error, RedisUnavailable) or is_unauthenticated(error):
                raise

    def link_ready(self) -> None:
        """Messages go out again; a little later if subscribers need time to come back first."""
        self._end_grace()
        if not self.link.is_first:
            self._grace = asyncio.get_running_loop().call_later(GRACE, self._grace_over)
        self.resume()
        self._keeper.ready(self)

    def link_lost(self, reason: str) -> None:  # noqa: ARG002 - a link's owner is told
        """Put what has no answer back, in its order."""
        self._end_grace()
        self._keeper.done(list(self._answered()))
        self._source.put_back(list(self.under_way()))
        self._unanswered.clear()
        self._pings = 0
        self._keeper.lost(self)

    def link_writable(self) -> None:
        """The socket takes more."""
        self.resume()

    def link_ping(self) -> None:
        """The link wants a sign of life."""
        self._ping()

    def _ping(self, pong: asyncio.Future[Any] | None = None) -> None:
        self._unanswered.append(Question(pong))
        self._pings += 1
        self.link.write(PING)

    # -- reading

    def link_received(self, data: bytes) -> None:
        """Replies: one for each command that was written, in order.

        While all goes well they are numbers, and counting lines is all that is to be done.
        """
        reader = self._reader
        if not self._pings and data[-1] == 10 and not data.translate(None, _NUMBERS) and not reader.has_data():
            self._advance(data.count(b"\n"))
        else:
            reader.feed(data)
            self._read(reader)
        self._keeper.heard()

    def _read(self, reader: hiredis.Reader) -> None:
        """Take one reply after the other."""
        while (reply := reader.gets()) is not False:
            oldest = self._unanswered[0]
            if isinstance(oldest, Question):
                self._unanswered.popleft()
                self._pings -= 1
                self._pong(oldest, reply)
            elif reply.__class__ is int:
                self._took(reply)
            elif not self._refuse(oldest, reply):
                break

    def _took(self, number: int) -> None:  # noqa: ARG002 - it says how many have it, or the like
        """Redis has done a command, and says a number."""
        self._advance(1)

    def _refuse(self, batch: Batch, reply: object) -> bool:
        """Redis would not take what is the next of ``batch``; False if all goes again over another connection."""
        fate = self._keeper.refused_by(self, batch.entries[batch.done], reply)
        if fate is Fate.AGAIN:
            self.link.drop(str(reply))
            return False
        if fate is Fate.STRAY:
            batch.let_go()
        self._advance(1)
        return True

    def _advance(self, replies: int) -> None:
        """So many messages and notices are done. What was written at once is answered for at once."""
        while replies:
            batch = self._unanswered[0]
            assert isinstance(batch, Batch)
            done = min(replies, batch.left)
            batch.done += done
            replies -= done
            if not batch.left:
                self._unanswered.popleft()
                self._keeper.done(batch.entries)

    def _pong(self, question: Question, reply: object) -> None:
        if question.reply is None:
            self.link.ponged()
        elif not question.reply.done():
            if isinstance(reply, Exception):
                question.reply.set_exception(reply_error(reply))
            else:
                question.reply.set_result(reply)
