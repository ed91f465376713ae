"""What a handler may say of its durable message while it runs: ``ack``, ``nack``, ``reject``. From any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..bus.delivery import Delivery
from ..errors import CannotSettle, check_delay
from ..message import Message


class Said(StrEnum):
    """What was said of a message, or that nothing can be said any more."""

    ACK = "ack()"
    NACK = "nack()"
    REJECT = "reject()"
    NOTHING = ""  # its handler has ended


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said, with how many seconds until the next try (None: the usual), or why it is rejected."""

    said: Said
    delay: float | None = None
    reason: str = ""


_NOTHING = Verdict(Said.NOTHING)


class Settling:
    """The verdicts on the messages of one subscription: at most one for each, while its handler runs.

    ``decided(delivery, verdict)`` is called on ``loop`` for each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, decided: Callable[[Delivery, Verdict], None]) -> None:
        self._loop, self._decided = loop, decided
        self._thread = threading.get_ident()
        self._lock = threading.Lock()

    def say(self, delivery: Delivery, number: int, verdict: Verdict, message: str) -> None:
        """Enter a verdict on the ``number``-th try. Raises CannotSettle where there is one, or where the handler has
        ended; the next try may be under way by then.
        """
        with self._lock:
            before = delivery.verdict if delivery.number == number else _NOTHING
            if before is None:
                delivery.verdict = verdict
        if before is not None:
            raise CannotSettle(verdict.said, message, _too_late(before))
        if threading.get_ident() == self._thread:
            self._decided(delivery, verdict)
        else:
            self._loop.call_soon_threadsafe(self._decided, delivery, verdict)

    def end(self, delivery: Delivery) -> None:
        """Its handler has ended: what was not said will not be."""
        with self._lock:
            if delivery.verdict is None:
                delivery.verdict = _NOTHING


def _too_late(before: Verdict) -> str:
    if before.said is Said.NOTHING:
        return "its handler has ended, and with that it was settled; call it before"
    return f"{before.said} was said of it already; say one thing, once"


class DurableMessage(Message):
    """What came with a payload on a durable subscription.

    As any message, with the how-manieth delivery it is, and with what its handler may say of it, once, before it ends.
    """

    __slots__ = ("_delivery", "_number", "_settling")

    def __init__(
        self, topic: str, source: bytes | dict[str, Any], payload: Any, delivery: Delivery, settling: Settling
    ) -> None:
        super().__init__(topic, source, payload)
        self._delivery, self._number, self._settling = delivery, delivery.number, settling

    @property
    def deliveries(self) -> int:
        """How often this message has been delivered, this time included."""
        return self._number

    def ack(self) -> None:
        """Acknowledge it now: whatever the handler does from here on, it is not tried again.

        Raises CannotSettle when something was said of it before, or when the handler has ended.
        """
        self._settling.say(self._delivery, self._number, Verdict(Said.ACK), self.id)

    def nack(self, delay: float | None = None) -> None:
        """Let it be tried again when the handler has ended: ``delay`` seconds later, or after the usual back-off.

        It counts as a try that failed. Raises ValueError for no such delay, CannotSettle as ``ack``.
        """
        self._settling.say(self._delivery, self._number, Verdict(Said.NACK, check_delay(delay, "nack")), self.id)

    def reject(self, reason: str) -> None:
        """Make it a dead letter now, for this reason. Raises CannotSettle as ``ack``."""
        self._settling.say(self._delivery, self._number, Verdict(Said.REJECT, reason=str(reason)), self.id)
