"""Whether a shard that serves a channel is to be believed, while the map of the Cluster says that another does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from .cluster import Address

DOUBT = 2.0  #: seconds for which the map has to contradict a shard that serves us: maps may be old, too


class Trust(Enum):
    """How far a shard is believed."""

    CONTRADICTED = "the map says that another serves the channel"
    DISOWNED = "the shard itself has said that it does not: whatever the map says next is believed"


@dataclass(slots=True)
class Doubt:
    """Who is said to serve a channel instead, and since when on the clock."""

    trust: Trust
    said: Address | None
    since: float

    def advance(self, said: Address, now: float) -> bool:
        """The map says that ``said`` serves it: whether the map is to be believed by now."""
        if self.trust is Trust.DISOWNED:
            return True
        if said != self.said:
            self.said, self.since = said, now
        return now - self.since > DOUBT


class Doubts:
    """Of each channel that is in doubt, how much."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._doubts: dict[bytes, Doubt] = {}

    def disowned(self, channel: bytes) -> None:
        """Its shard has said that it does not serve it."""
        self._doubts[channel] = Doubt(Trust.DISOWNED, None, self._clock())

    def contradicted(self, channel: bytes, said: Address) -> bool:
        """The map names another than the shard that we have it from: whether that is sure by now."""
        now = self._clock()
        return self._doubts.setdefault(channel, Doubt(Trust.CONTRADICTED, said, now)).advance(said, now)

    def agreed(self, channel: bytes) -> None:
        """The map names the shard that we have it from. Of one that has disowned it only a new map says something."""
        doubt = self._doubts.get(channel)
        if doubt is not None and doubt.trust is Trust.CONTRADICTED:
            del self._doubts[channel]

    def forget(self, channel: bytes) -> None:
        """Doubt no more."""
        self._doubts.pop(channel, None)
