"""What one life of an instance holds of a group's messages: from the moment Redis gives them out until they are
acknowledged, or lie among the dead letters.

::

    waiting ──► handling ──► handled ──► acknowledged
       ▲            │
       │            ├──► parked ─┐   (its handler failed; others flow meanwhile)
       └────────────┼────────────┘
                    └──► dead        (it failed for the last time, or was rejected)

A try counts when it begins. The first is counted by Redis as it gives the message out; each later one is counted
before the handler is called, so that a message that kills its process is tried no more often than any other. What is
asked once more because an answer was lost counts once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from ..burst import Burst
from ..errors import RedisError, TakenOver
from ..states import DeliveryState
from .delivery import Death, Delivery
from .gate import Gate
from .jobs import RETRY, Jobs
from .outcomes import Outcomes
from .standing import Standing
from .streams import Given, Held, Mark, Owned, Reader, Streams, body_of, is_for
from .tally import Tally, total
from .trials import Rules, Trials

log = logging.getLogger("hivemind.durable")

HANDLING, HANDLED = DeliveryState.HANDLING, DeliveryState.HANDLED  # a member of an Enum takes 0.1 µs to look up


class Deliveries:
    """The messages of one group that one life holds.

    ``hand(delivery)`` is called, on the loop, for each that is to be handled: then it enters HANDLING, and in the end
    somebody calls ``handled`` or ``failed``. ``on_fewer()`` is called when fewer are held. ``is_taken`` is True once
    another reader has taken over: nothing that is done from then on counts. ``tallies`` say of each topic what became
    of its messages.
    """

    def __init__(
        self,
        streams: Streams,
        reader: Reader,
        rules: Callable[[str], Rules],
        hand: Callable[[Delivery], None],
        tallies: defaultdict[str, Tally] | None = None,
    ) -> None:
        self.reader, self.rules = reader, rules
        self.on_gone: Callable[[], Awaitable[None]] | None = None
        self.on_fewer: Callable[[], None] = _nobody
        self.is_taken = False
        self.tallies = defaultdict(Tally) if tallies is None else tallies
        self.standing = Standing(streams, reader)
        self._streams, self._hand = streams, hand
        self._held: dict[tuple[str, bytes], Delivery] = {}
        self._outcomes = Outcomes(self.standing, rules, self.tallies, self._finish, self._put_off)
        self._trials = Trials(rules, self._retake)
        self._gate = Gate(self._seen, hand, self._skip, self._trials.inherit, self._trials.ended)
        self._losses = Burst()
        self._jobs = Jobs(reader.group, streams.commands.endpoint.outage, self.let_go, self._gone)

    @property
    def tally(self) -> Tally:
        """What became of all messages."""
        return total(self.tallies.values())

    @property
    def busy(self) -> int:
        """How many of those that have a key are being handled, or may be as soon as somebody is free."""
        return len(self._gate.under_way)

    def held(self) -> Iterator[Delivery]:
        """What we hold and have begun with, or will."""
        return iter(self._held.values())

    def untried(self, wants: Callable[[str], bool]) -> int:
        """How many were taken over, of the topics that somebody ``wants``, and have yet to be tried."""
        keys = self._trials.inherited.keys() | self._gate.queued.keys()
        return sum(key not in self._held and wants(key[0]) for key in keys)

    @property
    def inherits(self) -> bool:
        """Whether something that was taken over has yet to be tried."""
        return bool(self._trials.inherited)

    def has(self, topic: str, entry: bytes) -> bool:
        """Whether we know of this message."""
        key = (topic, entry)
        return key in self._held or key in self._trials.inherited or key in self._gate.queued

    def __len__(self) -> int:
        queued = self._gate.queued
        others = sum(key not in self._held and key not in queued for key in self._trials.inherited)
        return len(self._held) + len(queued) + others

    def start(self) -> None:
        """Begin to acknowledge, to try again, and to handle what others left."""
        self.standing.begin()
        outcomes, once = self._outcomes, self._gate.once
        self._jobs.start(self._acknowledge, outcomes.good)
        self._jobs.start(outcomes.settle, outcomes.bad)
        self._jobs.start(self._trials.run, self._trials.bell)
        self._jobs.start(once.run, once.bell)

    async def aclose(self) -> None:
        """End. What is handled should have been acknowledged before: wait for ``settled``."""
        await self._jobs.aclose()

    async def settled(self) -> None:
        """Return when Redis knows what became of every message whose handler has ended."""
        while self._outcomes and not self.is_taken:
            await self._outcomes.told()

    # -- what comes

    def came(self, topic: str, given: Sequence[Given]) -> None:
        """Redis has given these to us; those that we have already are the same."""
        if not (rules := self.rules(topic)).is_plain:
            return self._came_to_gate(topic, given, rules)
        held, inherited, hand, group = self._held, self._trials.inherited, self._hand, self.reader.group
        for entry, fields in given:
            key = topic, entry
            if key in held or key in inherited:
                continue
            held[key] = delivery = Delivery(topic, entry, body_of(fields), self)
            if len(fields or ()) == 2 or is_for(group, fields):
                hand(delivery)
            else:  # nobody here handles it
                delivery.enter(HANDLING)
                self.handled(delivery)
        return None

    def _came_to_gate(self, topic: str, given: Sequence[Given], rules: Rules) -> None:
        """As ``came``, for what has a key behind its fields, or may have been handled before."""
        for entry, fields, *key in given:
            if self.has(topic, entry):
                continue
            self._held[topic, entry] = delivery = Delivery(topic, entry, body_of(fields), self)
            if is_for(self.reader.group, fields):
                self._gate.enter(delivery, key[0] if key else b"", rules)
            else:
                delivery.enter(HANDLING)
                self.handled(delivery)

    def found(self, topic: str, owned: Sequence[Owned]) -> None:
        """These are ours, and an answer that said so may never have come."""
        self.came(topic, [(one.held.entry, one.fields) for one in owned if one.is_new])
        self.inherit(topic, [one.held for one in owned if not one.is_new])

    def inherit(self, topic: str, held: Sequence[Held]) -> None:
        """We took these over: see ``Trials``. Those that we have are the same: Redis came back with what it had."""
        for one in [one for one in held if not self.has(topic, one.entry)]:
            if one.wait is not None:
                parked = Delivery(topic, one.entry, b"", self, max(1, one.tries - 1), DeliveryState.PARKED)
                parked.counted = one.tries
                self._held[topic, one.entry] = parked
                self._gate.parked(parked, one.key)
                self._trials.park(topic, one.entry, one.wait)
            else:
                self._gate.inherit(topic, one)

    async def _seen(self, topic: str, marks: Sequence[Mark]) -> list[bool]:
        return await self._streams.seen(topic, self.reader.group, marks)

    def _skip(self, delivery: Delivery) -> None:
        """It was handled before."""
        self.tallies[delivery.topic].duplicate += 1
        self.handled(delivery)

    # -- what becomes of it

    def handled(self, delivery: Delivery) -> None:
        """Its handler returned."""
        delivery.enter(HANDLED)
        if delivery.again:
            self._trials.ended(delivery)
        if delivery.key:
            self._gate.under_way.discard(delivery)
        self._outcomes.handled(delivery)

    def failed(self, delivery: Delivery, death: Death, delay: float | None = None, *, is_final: bool = False) -> None:
        """Its handler failed: it is tried again, after ``delay`` seconds or as is usual, or ends, if that was its last
        try or ``is_final``, as a dead letter.
        """
        if delivery.again:
            self._trials.ended(delivery)
        if delivery.key:
            self._gate.under_way.discard(delivery)
        rules = self.rules(delivery.topic)
        if is_final or delivery.number > rules.retries:
            self._outcomes.failed(delivery, death, None)
        else:
            self._outcomes.failed(delivery, death, rules.delay(delivery.number) if delay is None else delay)

    def _put_off(self, delivery: Delivery, delay: float) -> None:
        if self.is_taken:  # since Redis was asked
            return
        delivery.enter(DeliveryState.PARKED)
        self._trials.park(delivery.topic, delivery.entry, delay)

    async def _acknowledge(self) -> float:
        return await self._outcomes.acknowledge(lambda: len(self._held))

    def _finish(self, state: DeliveryState, deliveries: Iterable[Delivery]) -> None:
        if self.is_taken and state is not DeliveryState.TAKEN:  # since Redis was asked
            return
        for delivery in deliveries:
            delivery.enter(state)
            self._held.pop((delivery.topic, delivery.entry), None)
            if delivery.key or delivery.mark is not None:
                self._gate.left(delivery.topic, delivery.entry, delivery, self.rules(delivery.topic))
        self._outcomes.known.ring()
        self.on_fewer()

    async def make_sure(self, topic: str, is_over: Callable[[], bool]) -> None:
        """Return when it is known whether what we hold of a topic is still ours (else ``is_taken``), or when all
        ``is_over``. If this process stood still others may have taken over.
        """
        while not (is_over() or self.is_taken or self.standing.is_sure(topic)):
            try:
                await self.standing.ask(topic)
            except TakenOver:
                self.let_go()
            except RedisError:
                await asyncio.sleep(RETRY)

    # -- telling Redis

    async def _gone(self) -> None:
        if self.on_gone is not None:
            await self.on_gone()

    def let_go(self) -> None:
        """Others took over what we hold."""
        if self.is_taken:
            return
        self.is_taken = True
        self._trials.clear()
        self._gate.clear()
        log.warning("another reader of group %s took over what this process holds", self.reader.group)
        ended = (DeliveryState.ACKNOWLEDGED, DeliveryState.DEAD)
        self._finish(DeliveryState.TAKEN, [one for one in self._held.values() if one.state not in ended])

    async def _retake(self, topic: str, entry: bytes) -> Delivery | None:
        """Begin one more try of a message that is pending; None if there is nothing to try any more."""
        known = self._held.get((topic, entry))
        if known is not None and known.state is not DeliveryState.PARKED:
            return None
        counted = known.counted if known is not None else self._trials.inherited.get((topic, entry), 0)
        is_lost, tries = False, await self._streams.retake(topic, self.reader, [entry], counted)
        if self.is_taken:  # since Redis was asked
            return None
        for found in tries:
            if is_lost := found.body is None:
                break
            self.tallies[topic].retried += 1
            # Redis counts one when it gives a message out, though that may never have been begun: it is not counted.
            delivery = known or Delivery(topic, entry, found.body, self, found.number - 2)
            delivery.counted = found.number
            if (queued := self._gate.queued.pop((topic, entry), None)) is not None:
                delivery.key = queued.key
            self._held[topic, entry] = delivery
            delivery.enter(DeliveryState.WAITING)
            delivery.body, delivery.number, delivery.verdict = found.body, delivery.number + 1, None
            if delivery.number > self.rules(topic).retries + 1:
                self.failed(delivery, Death("its process ended while it was tried for the last time"), is_final=True)
                return None
            delivery.again = True
            self._gate.give(delivery, self.rules(topic))
            return delivery
        gone = self._gate.queued.pop((topic, entry), None) or self._held.pop((topic, entry), None)
        if gone is not None:
            self._gate.left(topic, entry, gone, self.rules(topic))
        if is_lost or gone is not None:
            self.tallies[topic].lost += 1
            _tell_of_loss(self._losses, self.reader.group, topic, entry)
        self.on_fewer()
        return None


def _tell_of_loss(losses: Burst, group: str, topic: str, entry: bytes) -> None:
    if (held := losses.first()) is not None:
        more = losses.more(held)
        log.error("group %s: message %s of %s is not there any more%s", group, entry.decode(), topic, more)


def _nobody() -> None:
    """Nobody waits for room."""
