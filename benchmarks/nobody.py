"""A bus that is linked to nobody: what it writes is dropped, what would come is fed. It looks inside the bus."""

from __future__ import annotations

from collections.abc import Sequence

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.link import pack
from hivemind.states import LinkState

BATCH = 200  #: messages in one write, and in one read


def linked_bus(instance: str) -> Bus:
    """A bus of the hive "t" that sends as if it were connected. On the loop."""
    bus = Bus(Endpoint.parse("unix:///nowhere/redis.sock"), "t", instance)
    link = bus.outbox.link
    link.start = lambda: None  # type: ignore[method-assign]
    bus.outbox.start()
    link.state, link.is_writable = LinkState.UP, True
    bus.identify(instance, 1)
    return bus


def answer(bus: Bus) -> None:
    """Confirm a batch, as Redis does."""
    bus.outbox.carrier.link_received(b":1\r\n" * BATCH)


def feed(bus: Bus, data: bytes) -> None:
    """Let ``data`` come, as from Redis."""
    bus.live.home.link_received(data)


def pushes(pattern: str, topic: str, bodies: Sequence[bytes]) -> list[bytes]:
    """Messages of the hive "t" as Redis pushes them to who subscribed to ``pattern``: a buffer for each batch."""
    pushed = [pack("pmessage", f"hm:t:t:{pattern}", f"hm:t:t:{topic}", body) for body in bodies]
    return [b"".join(pushed[start : start + BATCH]) for start in range(0, len(pushed), BATCH)]
