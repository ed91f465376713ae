"""Appends messages to streams, over a link of its own. What leaves at once of one topic is one call of a function.

The function appends only what is not there yet, so that a batch whose answer was lost goes again. One write is under
way at a time: when Redis takes none of it, nothing that stands behind it can pass it. What has to be on Redis's disk,
or on a replica, is done when Redis has said so; until then it counts as under way, while more may be appended.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator

from ..burst import Burst
from ..english import amount
from ..errors import RedisRefused, RedisUnavailable, Refused, Unconfirmed, Undelivered
from ..retention import Retention, Tier
from ..topics import Names
from .assurance import Asking, Assurance
from .carrier import WRITE, Carrier, Keeper
from .link import bulk
from .outbox import Outbox
from .outgoing import Batch, Entry, OutboxOptions, Question, Topic
from .queues import index_of
from .spool import Spool
from .streams import Home, limits
from .translation import is_unauthenticated, reply_error

log = logging.getLogger("hivemind.durable")

RETRY = 0.5  #: seconds until what Redis refused is tried again
COMPLAIN = 60.0  #: seconds between two complaints that it does not confirm
NO_CAP = ("", "")  #: milliseconds and entries: as much as there is
AT_ONCE = 1000  #: messages in one call at the most, so that nobody else waits long


class BodySpool(Spool):
    """A spool whose commands are bodies, each as one argument of a command."""

    def __init__(self, names: Names, options: OutboxOptions | None = None) -> None:
        super().__init__(names, options)
        self.sender: tuple[str, int] = ("", 0)

    def identify(self, instance: str, incarnation: int) -> None:
        """Say who sends."""
        super().identify(instance, incarnation)
        self.sender = instance, incarnation

    def _made(self, topic: str) -> Topic:
        made = super()._made(topic)
        made.form = b"$%d\r\n" + self._head + b"%b}\r\n"
        return made

    def take_out(self, target: int) -> list[Entry]:
        """Take what is here of the first ``target`` messages, never to come back. On the loop only."""
        with self._lock:
            self._number()
            return self._queue.take_until(target)


class Appender(Carrier):
    """Empties a BodySpool. ``refusal`` is what Redis says as long as it takes nothing, else ""."""

    def __init__(self, home: Home, spool: BodySpool, keeper: Keeper) -> None:
        super().__init__(home.endpoint, home.name, spool, keeper)
        self.refusal = ""
        self.caps: dict[str, tuple[str, str]] = {}  # of topics that are capped, whatever groups have read
        self._home, self._spool = home, spool
        self._call: tuple[str, ...] = ()  # how the function is called, known as soon as it is there
        self._confirmed: dict[str, int] = {}  # the last sequence on each topic that Redis has answered for
        self._written: dict[str, int] = {}  # the greatest on each that was ever written
        self._sender = spool.sender
        self._back: list[Entry] = []  # what Redis refused
        self._rest: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._complaints = Burst(COMPLAIN)
        self._outage = home.endpoint.outage
        self.assurance = Assurance()
        self.on_anew: dict[str, Callable[[str], None]] = {}  # told of a topic whose stream was not there any more

    async def aclose(self) -> None:
        """Close the link; what was not answered for stays so. May be called twice."""
        self._end_rest()
        self._outage.forget(self)
        await super().aclose()

    def under_way(self) -> Iterator[Entry]:
        """Messages that were written and have no answer, in order."""
        yield from sorted([*super().under_way(), *self._back, *self.assurance], key=index_of)

    # -- writing

    def flush(self) -> None:
        """Write what is there, unless something is under way."""
        self._is_due = False
        is_busy = len(self._unanswered) > self._pings or self.assurance.is_asking
        if is_busy or self._rest is not None or not self._may_write():
            return
        calls = self._calls()
        coming = {tier for batch in self._unanswered if isinstance(batch, Batch) and (tier := self._tier(batch))}
        for asking, question in self.assurance.ask(self._clock(), coming, is_last=not self._spool):
            self._unanswered.append(asking)
            self._pings += 1
            calls.append(question)
        if calls:
            self.link.write(b"".join(calls))

    def _calls(self) -> list[bytes]:
        """What is there, topic by topic."""
        if self._sender != self._spool.sender:
            self._sender, self._confirmed, self._written = self._spool.sender, {}, {}
        piles: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self._spool.take(WRITE) if self._spool else ():
            piles[entry[1]].append(entry)
        calls = []
        for topic, pile in piles.items():
            before, only_then = self._confirmed.get(topic, 0), ""
            for part in parts(pile):
                self._unanswered.append(Batch(part))
                calls.append(self._append(topic, part, before, only_then))
                before, only_then = part[-1][2], "1"  # what stands behind cannot pass what Redis refuses
        return calls

    def _tier(self, batch: Batch) -> Tier | None:
        """At which tier a batch is to be confirmed, where it is not enough that Redis has taken it."""
        return self.assurance.tiers.get(batch.entries[0][1])

    def _append(self, topic: str, part: list[Entry], before: int, only_then: str) -> bytes:
        names, (instance, incarnation) = self._home.names, self._spool.sender
        most_ms, most = self.caps.get(topic, NO_CAP)
        keys = (2, names.stream(topic), names.producers(topic))
        written = self._written.get(topic, 0)
        self._written[topic] = max(written, part[-1][2])
        words: tuple[str | int, ...] = (
            *self._call,
            *keys,
            "PUBLISH",
            names.live(topic),
            instance,
            incarnation,
            part[0][2],
            before,
            only_then,
            written,
            most,
            most_ms,
        )
        begin = b"*%d\r\n" % (len(words) + len(part))
        return begin + b"".join([*[bulk(word) for word in words], *[entry[0] for entry in part]])

    # -- as the owner of its link

    async def link_up(self) -> None:
        """A new connection counts when it has answered, and the function is there."""
        await super().link_up()
        try:
            self._call = await self._home.functions.ready("append")
        except RedisRefused as error:
            self.refusal = str(error)
            raise

    def link_lost(self, reason: str) -> None:
        """Put what has no answer back, in its order."""
        self._end_rest()
        super().link_lost(reason)
        self._back.clear()
        self.assurance.reset()

    # -- reading

    def _took(self, number: int) -> None:
        """A call is done; it says how many messages it appended, or that something was not there any more."""
        batch = self._unanswered[0]
        if number < 0 and isinstance(batch, Batch):
            last, is_there = divmod(-(number + 1), 2)
            self._miss(batch.entries[0][1], last, is_there=not is_there)
        self._advance(1)

    def _miss(self, topic: str, last: int, *, is_there: bool) -> None:
        """The stream was not there any more, or it has of ours only what is up to ``last``."""
        lost = self._confirmed.get(topic, 0) - last
        if not is_there and topic in self.on_anew:
            self.on_anew[topic](topic)
        if is_there and lost > 0:
            text = "Redis came back with what it had before: it has lost %s of %s that it had taken"
            log.error(text, amount(lost, "message"), topic)

    def _advance(self, replies: int) -> None:
        """So many calls are done."""
        for _ in range(replies):
            batch = self._unanswered.popleft()
            assert isinstance(batch, Batch)
            if self.refusal:
                self.refusal = ""
                self._outage.back(self)
            _, topic, sequence, _ = batch.entries[-1]
            self._confirmed[topic] = max(sequence, self._confirmed.get(topic, 0))
            if tier := self._tier(batch):
                self.assurance.add(tier, batch.entries)
            else:
                self._keeper.done(batch.entries)
        self._go_on()

    def _pong(self, question: Question, reply: object) -> None:
        """A sign of life, or what was appended is confirmed, or is not yet: then it is asked again."""
        if not isinstance(question, Asking):
            super()._pong(question, reply)
            return
        done, late = self.assurance.answered(question.tier, reply, self._clock())
        self._keeper.done(done)
        if late and self._complaints.first() is not None:
            log.error("messages wait to be confirmed at the tier %r: %s", str(question.tier), late)
        self._go_on()

    def _refuse(self, batch: Batch, reply: object) -> bool:
        """Redis takes nothing now: it is tried again in a while. False if that needs another connection."""
        error = reply_error(reply)
        text = str(error)
        if isinstance(error, RedisUnavailable) or is_unauthenticated(error) or "function not found" in text.lower():
            self.link.drop(text)
            return False
        self._unanswered.popleft()
        self._back += batch.entries
        self.refusal = text
        self._outage.failed(self, RedisRefused(f"{text}; durable messages wait"))
        self._go_on()
        return True

    def _go_on(self) -> None:
        """When all is answered, write more: at once, or, if something was refused, in a while."""
        if len(self._unanswered) > self._pings:
            return
        if self._back:
            back, self._back = sorted(self._back, key=index_of), []
            self._spool.put_back(back)
            self._rest = asyncio.get_running_loop().call_later(RETRY, self._rested)
        else:
            self._ask_again()
            self.resume()

    def _ask_again(self) -> None:
        """When it is time, look whether what Redis did not confirm is confirmed by now."""
        if self._again is not None:
            self._again.cancel()
        self._again = None
        if (at := self.assurance.again) > self._clock():
            self._again = asyncio.get_running_loop().call_at(at, self.resume)

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    def _rested(self) -> None:
        self._rest = None
        self.resume()

    def _end_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None


def parts(pile: list[Entry]) -> Iterator[list[Entry]]:
    """What one call takes at a time: not too much, and no sequence is missing in it."""
    start = 0
    while start < len(pile):
        end = min(start + AT_ONCE, len(pile))
        if pile[end - 1][2] - pile[start][2] != end - 1 - start:  # some were dropped
            end = next(at for at in range(start + 1, end + 1) if at == end or pile[at][2] != pile[at - 1][2] + 1)
        yield pile[start:end]
        start = end


class DurableOutbox(Outbox):
    """What a process sends to durable topics. As ``Outbox``, but Redis's refusals last no longer than their reason."""

    carrier: Appender
    spool: BodySpool

    def __init__(self, home: Home, spool: BodySpool) -> None:
        super().__init__(home.endpoint, home.name, spool, Appender(home, spool, self))

    def keep(
        self, topic: str, retention: Retention, confirm: Tier, on_anew: Callable[[str], None] | None = None
    ) -> None:
        """Keep what is sent on ``topic`` as ``retention`` says, and have it confirmed at the tier ``confirm``."""
        if on_anew is not None:
            self.carrier.on_anew[topic] = on_anew
        self.carrier.assurance.want(topic, confirm)
        self.carrier.caps[topic] = NO_CAP if retention.durable else limits(retention)

    async def flush(self, timeout: float) -> None:
        """Return when Redis has taken all that was sent before, and confirmed it at the tier of its topic.

        Raises Refused when it takes nothing: then these messages are certainly not stored, and are not sent any more.
        Raises Unconfirmed when ``timeout`` seconds were not enough to know.
        """
        target, _ = self.spool.mark()
        try:
            await super().flush(timeout)
        except Unconfirmed:
            if not self.carrier.refusal or next(self.carrier.under_way(), None) is not None:
                raise
            gone = self.spool.take_out(target)
            self.done(gone)
            if not self.waiting:  # then nobody will know when Redis takes something again
                self.link.endpoint.outage.forget(self.carrier)
            raise Refused([Undelivered(topic, number, self.carrier.refusal) for _, topic, number, _ in gone]) from None

    @property
    def unconfirmed(self) -> str:
        """Why Redis does not confirm what it has taken, as far as it was asked; else ""."""
        return self.carrier.assurance.reason

    def _why(self) -> str:
        return self.carrier.assurance.reason or super()._why()
