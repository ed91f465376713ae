"""Nothing twice: a message passes unless one with the same mark was handled lately, or is in our hands now.

The mark is who sent it, in which life, and its number. What was handled Redis remembers, per group, for the window that
the subscription asks for; it is asked once for many messages. What somebody else sent has no mark, and always passes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence

from ..bell import Bell
from ..message import Malformed, decode, is_envelope
from ..states import DeliveryState
from .delivery import Delivery
from .jobs import LONG
from .streams import Mark

AT_ONCE = 500  #: messages of which Redis is asked at once
LONGEST = 256  #: characters of a sender's name that can be remembered


def mark_of(body: bytes) -> Mark | None:
    """The mark of a message; None if it has none."""
    try:
        value = decode(body)
    except Malformed:
        return None
    if value.__class__ is not dict or not is_envelope(value):
        return None
    sender, sequence = value["n"], value["s"]
    if not sender or not sequence or len(sender) > LONGEST or not sender.isprintable():
        return None
    return Mark(sender, value["e"], sequence)


class Once:
    """Calls ``give`` or ``skip`` for each message of which it was asked, and ``aside`` before, for one that has to wait
    until the one that is the same has left. ``run`` is the job; it is due at ``bell``.
    """

    def __init__(
        self,
        seen: Callable[[str, Sequence[Mark]], Awaitable[list[bool]]],
        give: Callable[[Delivery], None],
        skip: Callable[[Delivery], None],
        aside: Callable[[Delivery], None],
    ) -> None:
        self.bell = Bell()
        self._seen, self._give, self._skip, self._aside = seen, give, skip, aside
        self._asked: deque[Delivery] = deque()
        self._ours: dict[tuple[str, Mark], Delivery] = {}
        self._twins: defaultdict[tuple[str, Mark], list[Delivery]] = defaultdict(list)

    def ask(self, one: Delivery) -> None:
        """May this be handled? It has a mark."""
        self._asked.append(one)
        self.bell.ring()

    async def run(self) -> float:
        """Answer what was asked. Return seconds after which to look again."""
        while self._asked:
            topic = self._asked[0].topic
            batch = [one for one in list(self._asked)[:AT_ONCE] if one.topic == topic]
            seen = await self._seen(topic, [one.mark for one in batch if one.mark is not None])
            was_handled = dict(zip(map(id, batch), seen, strict=True))
            self._asked = deque(one for one in self._asked if id(one) not in was_handled)
            for one in batch:
                if one.state is DeliveryState.WAITING:
                    self._answer(one, is_handled=was_handled[id(one)])
        return LONG

    def _answer(self, one: Delivery, *, is_handled: bool) -> None:
        assert one.mark is not None
        key = (one.topic, one.mark)
        if is_handled:
            self._skip(one)
        elif self._ours.setdefault(key, one) is one:
            self._give(one)
        else:
            self._twins[key].append(one)
            self._aside(one)

    def finished(self, one: Delivery) -> None:
        """A message is out of our hands: those that are the same may be handled, if it was not."""
        assert one.mark is not None
        key = (one.topic, one.mark)
        if self._ours.get(key) is one:
            del self._ours[key]
            for twin in self._twins.pop(key, ()):
                self.ask(twin)

    def clear(self) -> None:
        """Forget all."""
        self._asked.clear()
        self._ours.clear()
        self._twins.clear()
