"""Keeps the register of what the clerks wrote, and answers who asks; it notes whether the beacon burns, too."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator

from hivemind import Node, responder, subscription

from ..common.records import Entry

KEPT = 100  # entries


class Register(Node):
    """A new register is begun with each life."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self.is_lit: bool | None = None  # not known

    @subscription("entry.*")
    async def enter(self, payload: Entry) -> None:
        self.entries.append(payload)
        self.counts[payload.name] += 1

    @subscription("beacon.lamp", since=1)
    async def note(self, payload: bool) -> None:
        """The topic is kept: the last word is there at once, also for a register that has only begun."""
        if payload != self.is_lit:
            self.log_info(f"the beacon is {'lit' if payload else 'dark'}")
        self.is_lit = payload

    @responder("register.count")
    async def count(self, name: str) -> int:
        """How often it was seen."""
        return self.counts[name]

    @responder("register.latest", stream=True)
    async def latest(self, number: int) -> AsyncIterator[Entry]:
        """The last entries, the newest first, one by one."""
        for entry in list(reversed(self.entries))[:number]:
            yield entry
