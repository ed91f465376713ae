"""A message in the hands of a reader, and why one is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..states import DELIVERY, DeliveryState, advance
from .standing import Standing
from .streams import Mark


class Owner(Protocol):
    """Who has to be told what becomes of a message: see ``Deliveries``."""

    is_taken: bool
    standing: Standing

    def handled(self, delivery: Delivery) -> None:
        """Its handler returned."""

    def failed(self, delivery: Delivery, death: Death, delay: float | None = None, *, is_final: bool = False) -> None:
        """Its handler failed: it is tried again, after ``delay`` seconds or as is usual, or ends, if that was its last
        try or ``is_final``, as a dead letter.
        """

    async def make_sure(self, topic: str, is_over: Callable[[], bool]) -> None:
        """Return when it is known whether what is held of a topic is still ours."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One message in our hands: its topic and entry, its envelope as it came, who is told what becomes of it, and the
    how-manieth try this is. ``again`` is True while it is tried again: then it goes before what is new. ``verdict``
    belongs to who handles it, anew for each try. ``key`` orders it, ``mark`` tells whether it was handled before.
    ``counted`` is how many tries Redis has counted, as far as we heard.
    """

    topic: str
    entry: bytes
    body: bytes
    owner: Owner
    number: int = 1
    state: DeliveryState = field(default=DeliveryState.WAITING)
    verdict: Any = None
    again: bool = False
    key: bytes = b""
    mark: Mark | None = None
    counted: int = 1

    def enter(self, state: DeliveryState) -> None:
        """Go to another state."""
        self.state = state if state in DELIVERY[self.state] else advance(DELIVERY, self.state, state)


@dataclass(frozen=True, slots=True)
class Death:
    """Why a message is tried no more: in a sentence, and with the traceback of its last try."""

    reason: str
    traceback: str = ""
