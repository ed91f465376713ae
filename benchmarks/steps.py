"""``python -m benchmarks.steps``: what one message costs in our own process, step by step, in nanoseconds of CPU.

Nothing is connected: what would go to the socket is dropped, what would come is fed. Each figure is what a longer part
of the way takes over a shorter one, the best of many rounds each. For rates, and for peers, see ``python -m
benchmarks``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hiredis
import orjson

from hivemind import Node, Service, service, subscription
from hivemind.bus.bus import Bus
from hivemind.bus.receiving import LiveSubscription
from hivemind.message import encode_payload, head

from .durably import Durably
from .nobody import BATCH, BODY, MESSAGES, PAYLOAD, Way, answer, feed, linked_bus, pushes

ROUNDS = 60


class Both(Node):
    """A service that only lends its ``send``, and a handler that does nothing."""

    @service("x-1")
    def say(self, service: Service) -> int:
        return 1

    @subscription("x-*")
    async def hear(self, payload: Any) -> None:
        """As little as can be done."""


@dataclass
class Sending:
    """The way of a message from ``service.send`` to the socket and its answer."""

    bus: Bus = field(default_factory=lambda: linked_bus("a.0"))
    node: Both = field(default_factory=Both)

    async def begin(self) -> None:
        """As a node that is connected, but to nobody."""
        self.node._hm.bind()
        self.node._hm.connected(self.bus, None, None)  # type: ignore[arg-type]

    async def encode(self) -> None:
        for _ in range(MESSAGES):
            encode_payload(PAYLOAD)

    async def number(self) -> None:
        spool = self.bus.outbox.spool
        for start in range(0, MESSAGES, BATCH):
            for _ in range(start, start + BATCH):
                encode_payload(PAYLOAD)
                spool.add("x-1", BODY)
            entries = spool.take(1 << 30)
            spool.settle(len(entries), sum(len(entry[0]) for entry in entries))
        await asyncio.sleep(0)

    async def write(self) -> None:
        for start in range(0, MESSAGES, BATCH):
            for _ in range(start, start + BATCH):
                self.bus.send("x-1", PAYLOAD)
            await asyncio.sleep(0)
            answer(self.bus)

    async def whole(self) -> None:
        send = self.node.bound_services[0].send
        for start in range(0, MESSAGES, BATCH):
            for _ in range(start, start + BATCH):
                send(PAYLOAD)
            await asyncio.sleep(0)
            answer(self.bus)


@dataclass
class Receiving:
    """The way of a message from the socket to its handler."""

    bus: Bus = field(default_factory=lambda: linked_bus("b.0"))
    node: Both = field(default_factory=Both)
    bare: LiveSubscription = field(default_factory=lambda: LiveSubscription("y-*"))
    sequence: int = 0

    async def begin(self) -> None:
        """Subscribed, without a connection; one subscription of a node, and one that nobody handles."""
        self.node._hm.bind()
        (sink,) = self.node.bound_subscriptions
        self.bus.live.add(sink.live)
        self.bus.live.add(self.bare)
        sink.start()
        await asyncio.sleep(0)

    def buffers(self, letter: str) -> list[bytes]:
        """The next messages, as Redis pushes them."""
        envelope = head("a.0", 1)
        bodies = []
        for _ in range(MESSAGES):
            self.sequence += 1
            bodies.append(envelope % (self.sequence, b"1795321514.224113") + BODY + b"}")
        return pushes(f"{letter}-*", f"{letter}-1", bodies)

    def parse(self) -> Way:
        ready = self.buffers("y")

        async def way() -> None:
            reader = hiredis.Reader()
            for buffer in ready:
                reader.feed(buffer)
                while reader.gets() is not False:
                    pass

        return way

    def enter(self) -> Way:
        ready = self.buffers("y")

        async def way() -> None:
            for buffer in ready:
                feed(self.bus, buffer)
                for _ in self.bare.inbox.entries():
                    pass

        return way

    def whole(self) -> Way:
        ready = self.buffers("x")

        async def way() -> None:
            for buffer in ready:
                feed(self.bus, buffer)
                await asyncio.sleep(0)

        return way


async def nanoseconds(make: Callable[[], Way]) -> float:
    """What a message takes on a way, in the best of many rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        way = make()
        began = time.process_time_ns()
        await way()
        best = min(best, time.process_time_ns() - began)
    return best / MESSAGES


async def dumps() -> None:
    for _ in range(MESSAGES):
        orjson.dumps(PAYLOAD)


async def loads() -> None:
    text = orjson.dumps(PAYLOAD)
    for _ in range(MESSAGES):
        orjson.loads(text)


async def main() -> None:
    """Measure and print."""
    sending, receiving, durably = Sending(), Receiving(), Durably()
    await durably.begin()
    await sending.begin()
    await receiving.begin()
    ways: dict[str, list[tuple[str, Callable[[], Way]]]] = {
        "sending": [
            ("check the payload and write its JSON", lambda: sending.encode),
            ("take it in; give it number, time and form", lambda: sending.number),
            ("join it to one write; count its answer", lambda: sending.write),
            ("service.send, node.send", lambda: sending.whole),
        ],
        "receiving": [
            ("parse the push (hiredis)", receiving.parse),
            ("read its JSON, see that it is the next one, put it into the inbox", receiving.enter),
            ("take it, call the handler, look at the clock", receiving.whole),
        ],
        "handling durably": [
            ("parse the reply (hiredis)", durably.parse),
            ("see that it is new, hold it, hand it over", durably.enter),
            ("read its JSON, call the handler, acknowledge it", durably.whole),
        ],
    }
    for title, steps in ways.items():
        before = 0.0
        print(f"\n{title}")
        for what, make in steps:
            until = await nanoseconds(make)
            print(f"  {what:70} {until - before:6.0f} ns")
            before = until
        print(f"  {'together':70} {before:6.0f} ns")
    print(
        f"\nfor comparison: orjson.dumps {await nanoseconds(lambda: dumps):.0f} ns, "
        f"orjson.loads {await nanoseconds(lambda: loads):.0f} ns"
    )


if __name__ == "__main__":
    asyncio.run(main())
