"""Which of the messages that a reader holds may be handled now: one of each key, and none that was handled before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ..states import DeliveryState
from .delivery import Delivery
from .once import Once, mark_of
from .streams import Held, Mark
from .trials import Key, Rules
from .turns import Turns


class Gate:
    """Calls ``hand`` for what may be handled, ``skip`` for what was handled before, ``aside`` for what waits for one
    that is the same, and ``inherit`` when it is the turn of what a life left that ended; ``seen`` asks Redis. All that
    comes in goes out with ``left``.
    """

    def __init__(
        self,
        seen: Callable[[str, Sequence[Mark]], Awaitable[list[bool]]],
        hand: Callable[[Delivery], None],
        skip: Callable[[Delivery], None],
        inherit: Callable[[str, Held], None],
        aside: Callable[[Delivery], None],
    ) -> None:
        self.once = Once(seen, hand, skip, aside)
        self.queued: dict[Key, Held] = {}  # what was inherited and has a key, until it is tried
        self.under_way: set[Delivery] = set()  # what has a key, and was given to be handled
        self._turns: Turns[Delivery | Held] = Turns()
        self._hand, self._inherit = hand, inherit

    def enter(self, one: Delivery, key: bytes, rules: Rules) -> None:
        """It is new."""
        one.key = key
        if not key or self._turns.enter(one.topic, key, one.entry, one):
            self.give(one, rules)

    def give(self, one: Delivery, rules: Rules) -> None:
        """It is its turn."""
        if one.key:
            self.under_way.add(one)
        one.mark = mark_of(one.body) if rules.window else None
        if one.mark is None:
            self._hand(one)
        else:
            self.once.ask(one)

    def inherit(self, topic: str, held: Held) -> None:
        """A life left this that ended."""
        if held.key:
            self.queued[topic, held.entry] = held
        if not held.key or self._turns.enter(topic, held.key, held.entry, held):
            self._inherit(topic, held)

    def parked(self, one: Delivery, key: bytes) -> None:
        """A life left this that ended, and it is not due: it has its turn already."""
        one.key = key
        if key:
            self._turns.enter(one.topic, key, one.entry, one)

    def left(self, topic: str, entry: bytes, one: Delivery | Held, rules: Rules) -> None:
        """It is out of our hands: those behind it may come."""
        if not isinstance(one, Held) and one.mark is not None:
            self.once.finished(one)
        following = self._turns.leave(topic, one.key, entry) if one.key else None
        if isinstance(following, Held):
            self._inherit(topic, following)
        elif following is not None and following.state is DeliveryState.WAITING:
            self.give(following, rules)

    def clear(self) -> None:
        """Forget all."""
        self.once.clear()
        self._turns.clear()
        self.under_way.clear()
        self.queued.clear()
