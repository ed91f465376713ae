"""A bus that is linked to nobody: what it writes is dropped, what would come is fed. It looks inside the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hivemind.bus.bus import Bus
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.link import Link, bulk, pack
from hivemind.bus.streams import Reader, Streams
from hivemind.message import encode_payload
from hivemind.states import LinkState

BATCH = 200  #: messages in one write, and in one read
MESSAGES = 2_000  #: of which a step is measured
PAYLOAD = {"i": 123_456, "unit": "C"}
BODY = encode_payload(PAYLOAD)
Way = Callable[[], Awaitable[None]]


def linked_bus(instance: str) -> Bus:
    """A bus of the hive "t" that sends as if it were connected. On the loop."""
    bus = Bus(Endpoint.parse("unix:///nowhere/redis.sock"), "t", instance)
    _pretend(bus.outbox.link)
    bus.outbox.start()
    bus.identify(instance, 1)
    return bus


def keeping_bus(instance: str, topic: str) -> Bus:
    """The same, which keeps ``topic``."""
    bus = linked_bus(instance)
    bus.keep(topic)
    assert bus.keeping is not None
    link = bus.keeping.link
    assert link._task is not None
    link._task.cancel()  # before it began
    _pretend(link)
    return bus


def _pretend(link: Link) -> None:
    """Be up, to nobody."""
    link.start = lambda: None  # type: ignore[method-assign]
    link.state, link.is_writable = LinkState.UP, True


def answer(bus: Bus) -> None:
    """Confirm a batch, as Redis does."""
    bus.outbox.carrier.link_received(b":1\r\n" * BATCH)


def appended(bus: Bus) -> None:
    """Confirm the one call that is under way, as Redis does."""
    assert bus.keeping is not None
    bus.keeping.carrier.link_received(b":%d\r\n" % BATCH)


class Acknowledging(Streams):
    """Streams that only count what is acknowledged, and write as much as it takes."""

    def __init__(self) -> None:
        self.commands = Commands(Endpoint.parse("unix:///nowhere/redis.sock"))  # connects to nothing unless it is used
        self.acknowledged = 0

    async def acknowledge(self, topic: str, reader: Reader, entries: Sequence[bytes]) -> int:
        """Count."""
        pack("FCALL", "ack", 3, topic, topic, topic, reader.group, reader.instance, reader.incarnation, *entries)
        await asyncio.sleep(0)
        self.acknowledged += len(entries)
        return len(entries)


def entries(millisecond: int, bodies: Sequence[bytes]) -> list[bytes]:
    """A stream's messages of one millisecond as Redis answers XREADGROUP: a buffer for each batch."""
    packed = [
        b"*2\r\n" + bulk(f"{millisecond}-{number}") + b"*2\r\n" + bulk("b") + b"$%d\r\n%b\r\n" % (len(body), body)
        for number, body in enumerate(bodies)
    ]
    head = b"*1\r\n*2\r\n" + bulk("stream")
    batches = [packed[start : start + BATCH] for start in range(0, len(packed), BATCH)]
    return [head + b"*%d\r\n" % len(batch) + b"".join(batch) for batch in batches]


def feed(bus: Bus, data: bytes) -> None:
    """Let ``data`` come, as from Redis."""
    bus.live.home.link_received(data)


def pushes(pattern: str, topic: str, bodies: Sequence[bytes]) -> list[bytes]:
    """Messages of the hive "t" as Redis pushes them to who subscribed to ``pattern``: a buffer for each batch."""
    pushed = [pack("pmessage", f"hm:t:t:{pattern}", f"hm:t:t:{topic}", body) for body in bodies]
    return [b"".join(pushed[start : start + BATCH]) for start in range(0, len(pushed), BATCH)]
