"""The steps of a durable message through the process that handles it: see ``steps.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import hiredis

from hivemind import Node, subscription
from hivemind.bell import Bell
from hivemind.bus.deliveries import Deliveries
from hivemind.bus.streams import Reader
from hivemind.bus.trials import Rules
from hivemind.message import head

from .nobody import BODY, MESSAGES, Acknowledging, Way, entries


class KeepsUp(Node):
    """A durable handler that does nothing."""

    @subscription("x-*", durable=True)
    async def hear(self, payload: Any) -> None:
        """As little as can be done."""


@dataclass
class Durably:
    """The way of a message that a group was given to its handler and its acknowledgement."""

    node: KeepsUp = field(default_factory=KeepsUp)
    fewer: Bell = field(default_factory=Bell)
    millisecond: int = 0

    async def begin(self) -> None:
        """A group of one, of which nobody acknowledges but us."""
        self.node._hm.bind()
        (sink,) = self.node.bound_durables
        sink.start()
        usual, reader = Rules(), Reader("g", "b.0", 1)
        self.group = Deliveries(Acknowledging(), reader, lambda topic: usual, sink.hand)
        self.group.on_fewer = self.fewer.ring
        self.group.start()
        await asyncio.sleep(0)

    def replies(self) -> list[bytes]:
        """The next messages, as Redis answers a read."""
        self.millisecond += 1
        envelope = head("a.0", 1)
        bodies = [envelope % (number, b"1795321514.224113") + BODY + b"}" for number in range(1, MESSAGES + 1)]
        return entries(self.millisecond, bodies)

    def parse(self) -> Way:
        ready = self.replies()

        async def way() -> None:
            for _ in given(ready):
                pass

        return way

    def enter(self) -> Way:
        ready = self.replies()
        group = Deliveries(Acknowledging(), self.group.reader, self.group.rules, lambda delivery: None)

        async def way() -> None:
            for one in given(ready):
                group.came("x-1", one)

        return way

    def whole(self) -> Way:
        ready = self.replies()

        async def way() -> None:
            for one in given(ready):
                self.group.came("x-1", one)
                await asyncio.sleep(0)
            while len(self.group):
                await self.fewer.wait(1.0)

        return way


def given(replies: list[bytes]) -> Iterator[list[Any]]:
    """What replies say, as hiredis reads them."""
    parser = hiredis.Reader()
    for reply in replies:
        parser.feed(reply)
        ((_, found),) = parser.gets()
        yield found
