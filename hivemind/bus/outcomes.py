"""Tells Redis what became of messages: acknowledged, put off, or dead. Whatever it would not do is said to it again."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import islice, takewhile

import orjson

from ..bell import Bell
from ..states import DeliveryState
from .delivery import Death, Delivery
from .jobs import LONG, RETRY
from .standing import Standing
from .streams import Reader
from .tally import Tally
from .trials import Rules

AT_ONCE = 1000  #: messages acknowledged in one call at the most
GATHER = 0.002  #: seconds in which more may be handled before so few are acknowledged, while others wait for that


class Outcomes:
    """What Redis has yet to be told. ``acknowledge`` and ``settle`` are jobs, due when ``good`` and ``bad`` ring.

    ``finish(state, deliveries)`` is called for those of which Redis knows that they are done with, ``put_off(delivery,
    delay)`` for each that waits for its next try.
    """

    def __init__(
        self,
        standing: Standing,
        rules: Callable[[str], Rules],
        tallies: defaultdict[str, Tally],
        finish: Callable[[DeliveryState, Sequence[Delivery]], None],
        put_off: Callable[[Delivery, float], None],
    ) -> None:
        self.good, self.bad = Bell(), Bell()
        self.known = Bell()  # Redis has been told something
        self._standing, self._rules, self._tallies = standing, rules, tallies
        self._streams, self._reader = standing.streams, standing.reader
        self._finish, self._put_off = finish, put_off
        self._handled: deque[Delivery] = deque()
        self._failed: deque[tuple[Delivery, Death, float | None]] = deque()

    def __len__(self) -> int:
        return len(self._handled) + len(self._failed)

    def handled(self, delivery: Delivery) -> None:
        """It is to be acknowledged."""
        if not self._handled:
            self.good.ring()
        self._handled.append(delivery)

    def failed(self, delivery: Delivery, death: Death, delay: float | None) -> None:
        """It is to wait ``delay`` seconds, or to be a dead letter."""
        self._failed.append((delivery, death, delay))
        self.bad.ring()

    async def told(self) -> None:
        """Return when something more is told, or after a while."""
        await self.known.wait(RETRY)

    async def acknowledge(self, held: Callable[[], int]) -> float:
        """Acknowledge what was handled; of how many are ``held`` it depends whether more is worth waiting for.
        Return seconds after which to look again.
        """
        while self._handled:
            rules = self._rules(self._handled[0].topic)
            if len(self._handled) < min(AT_ONCE, held()) and not rules.order_by:
                await asyncio.sleep(GATHER)
            batch = self._next_handled()
            await self._tell(batch, rules)
            for _ in batch:
                self._handled.popleft()
            self._finish(DeliveryState.ACKNOWLEDGED, batch)
            self._tallies[batch[0].topic].acknowledged += len(batch)
        return LONG

    def _next_handled(self) -> list[Delivery]:
        """The oldest ones that are of one topic."""
        topic = self._handled[0].topic
        return list(islice(takewhile(lambda one: one.topic == topic, self._handled), AT_ONCE))

    async def _tell(self, batch: Sequence[Delivery], rules: Rules) -> None:
        topic, asked = batch[0].topic, self._standing.now()
        if rules.is_plain:
            await self._streams.acknowledge(topic, self._reader, [one.entry for one in batch])
        else:
            entries = [(one.entry, one.key) for one in batch]
            marks = [one.mark for one in batch if one.mark is not None]
            await self._streams.conclude(topic, self._reader, entries, rules.window, marks)
        self._standing.confirmed(topic, asked)

    async def settle(self) -> float:
        """Put off what failed, or bury it. Return seconds after which to look again."""
        while self._failed:
            delivery, death, delay = self._failed[0]
            if delay is None:
                letter, most = _letter(delivery, self._reader, death), self._rules(delivery.topic).letters
                await self._streams.bury(delivery.topic, self._reader, delivery.entry, letter, most, delivery.key)
                self._tallies[delivery.topic].dead += 1
                self._finish(DeliveryState.DEAD, [delivery])
            else:
                await self._streams.park(delivery.topic, self._reader, delivery.entry, delay)
                self._put_off(delivery, delay)
            self._failed.popleft()
            self.known.ring()
        return LONG


def _safe(text: str) -> str:
    """Text that can be written as UTF-8, whatever an exception said."""
    return text.encode("utf-8", "backslashreplace").decode()


def _letter(delivery: Delivery, reader: Reader, death: Death) -> bytes:
    """A dead letter: where the message came from, what became of it, and the message as it was."""
    try:
        message, raw = delivery.body.decode(), {}
    except UnicodeDecodeError:
        message, raw = delivery.body.decode(errors="replace"), {"raw": b64encode(delivery.body).decode()}
    return orjson.dumps(
        {
            "topic": delivery.topic,
            "entry": delivery.entry.decode(),
            "group": reader.group,
            "instance": reader.instance,
            "incarnation": reader.incarnation,
            "tries": delivery.number,
            "died": time.time(),
            "reason": _safe(death.reason),
            "traceback": _safe(death.traceback),
            "message": message,
            **raw,
        }
    )
