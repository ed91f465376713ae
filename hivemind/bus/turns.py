"""Order by key within one reader: of each key one message is under way, and the others wait, as the stream has them."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Lane(Generic[T]):
    """The messages of one key: whose turn it is, and who waits, by place in the stream."""

    turn: tuple[int, int]
    waiting: list[tuple[tuple[int, int], T]] = field(default_factory=list)


class Turns(Generic[T]):
    """Who is next. A message keeps its turn until it leaves, also while it waits to be tried again."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, bytes], Lane[T]] = {}

    def enter(self, topic: str, key: bytes, entry: bytes, one: T) -> bool:
        """Whether it is its turn at once; else it waits."""
        place = _place(entry)
        lane = self._lanes.get((topic, key))
        if lane is None:
            self._lanes[topic, key] = Lane(place)
            return True
        if lane.turn == place:
            return True
        insort(lane.waiting, (place, one), key=lambda waits: waits[0])
        return False

    def leave(self, topic: str, key: bytes, entry: bytes) -> T | None:
        """It is out of our hands; return who has its turn now, if somebody has."""
        lane, place = self._lanes.get((topic, key)), _place(entry)
        if lane is None:
            return None
        if lane.turn != place:
            lane.waiting = [waits for waits in lane.waiting if waits[0] != place]
            return None
        if not lane.waiting:
            del self._lanes[topic, key]
            return None
        lane.turn, one = lane.waiting.pop(0)
        return one

    def clear(self) -> None:
        """Forget all."""
        self._lanes.clear()


def _place(entry: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number)
