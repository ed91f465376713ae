"""Whether a reader may handle what it holds: a process that stood still does not know what others did meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from .streams import Reader, Streams

SOON = 0.02  #: seconds between two looks whether our lease is renewed


class Standing:
    """What one life of a reader knows of itself. ``lease`` is in seconds; ``speaks()`` says whether the registry has
    agreed within that time that the life goes on.

    Nobody takes over from a life within a lease of its last sign. So what Redis did for it within a lease, as for one
    from which nobody took over, makes sure that what it holds is its own.
    """

    def __init__(self, streams: Streams, reader: Reader) -> None:
        self.lease = math.inf
        self.speaks: Callable[[], bool] = lambda: True
        self.now: Callable[[], float] = lambda: 0.0
        self.streams, self.reader = streams, reader
        self._sure: dict[str, float] = {}

    def is_sure(self, topic: str) -> bool:
        """Whether what is held of a topic surely is ours. From any thread."""
        return self.now() - self._sure.get(topic, -math.inf) < self.lease and self.speaks()

    def confirmed(self, topic: str, asked: float) -> None:
        """Redis did something for us that we asked at this time of the loop."""
        self._sure[topic] = asked

    async def ask(self, topic: str) -> None:
        """Make sure, or wait a moment for our lease to be renewed: who saw it end may be about to take over, and will
        not once it is. Raises TakenOver when it is not ours any more, RedisError when Redis does not say.
        """
        if not self.speaks():
            await asyncio.sleep(SOON)
            return
        asked = self.now()
        await self.streams.acknowledge(topic, self.reader, ())
        self.confirmed(topic, asked)

    def begin(self) -> None:
        """Know the time, on the loop."""
        self.now = asyncio.get_running_loop().time
