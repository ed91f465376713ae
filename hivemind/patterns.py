"""How a hive keeps its patterns; and many of them against one topic: only those that begin as it does are looked at."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, Literal, TypeVar

from .topics import LONGEST, WILD, matcher

#: Who matches patterns: Redis (SERVER), or each node, from the topics that were announced (RESOLVED).
PatternMode = Literal["server", "resolved"]
SERVER: Final = "server"
RESOLVED: Final = "resolved"

T = TypeVar("T", bound=Hashable)


class PatternTable(Generic[T]):
    """Patterns with a value each. ``of(topic)`` costs no more for patterns that begin otherwise than the topic."""

    def __init__(self) -> None:
        self._starts: dict[str, dict[tuple[str, T], _Wanted[T]]] = {}  # by what stands before the first wildcard

    def add(self, pattern: str, value: T) -> None:
        """Enter one more; nothing if it is there."""
        self._starts.setdefault(_start(pattern), {}).setdefault((pattern, value), _Wanted(pattern, value))

    def remove(self, pattern: str, value: T) -> None:
        """Take out what ``add`` entered; nothing if it is not there."""
        group = self._starts.get(_start(pattern), {})
        group.pop((pattern, value), None)
        if not group:
            self._starts.pop(_start(pattern), None)

    def of(self, topic: str) -> list[T]:
        """The values of all patterns that match ``topic``, in no order."""
        starts = self._starts
        return [
            one.value
            for end in range(min(len(topic), LONGEST) + 1)
            if (group := starts.get(topic[:end])) is not None
            for one in group.values()
            if one.fits(topic)
        ]


class _Wanted(Generic[T]):
    __slots__ = ("_match", "pattern", "value")

    def __init__(self, pattern: str, value: T) -> None:
        self.pattern, self.value = pattern, value
        self._match: Callable[[str], object] | None = None  # made when first needed: it takes a tenth of a millisecond

    def fits(self, topic: str) -> bool:
        if self._match is None:
            self._match = matcher(self.pattern)
        return bool(self._match(topic))


def _start(pattern: str) -> str:
    ends = [at for wild in WILD if (at := pattern.find(wild)) >= 0]
    return pattern[: min(ends)] if ends else pattern
