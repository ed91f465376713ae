"""Messages on topics that nobody expects yet: they wait aside, without numbers. Nothing here is locked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice

from .outgoing import Raw, Topic


class Held:
    """A pile for each topic that is held; ``count`` messages of ``size`` bytes in all, about."""

    def __init__(self) -> None:
        self.count = self.size = 0
        self._piles: dict[str, deque[Raw]] = {}

    def __bool__(self) -> bool:
        return bool(self._piles)

    def __contains__(self, topic: str) -> bool:
        return topic in self._piles

    def __iter__(self) -> Iterator[str]:
        return iter(self._piles)

    def hold(self, topic: str) -> None:
        """Put aside what comes on ``topic`` from now on."""
        self._piles.setdefault(topic, deque())

    def sort(self, intake: deque[Raw]) -> deque[Raw]:
        """Empty ``intake``, and return what of it is not held."""
        free = deque[Raw]()
        for _ in range(len(intake)):
            one = intake.popleft()
            pile = self._piles.get(one[0].name, free)
            pile.append(one)
            if pile is not free:
                self.count += 1
                self.size += _reckoned(one)
        return free

    def release(self, topic: str) -> deque[Raw]:
        """Hold ``topic`` no longer, and return what came on it."""
        pile = self._piles.pop(topic, deque())
        self.count -= len(pile)
        self.size -= sum([_reckoned(one) for one in pile])
        return pile

    def rename(self, topics: Mapping[str, Topic]) -> None:
        """Let what is here be sent in another name."""
        for name, pile in self._piles.items():
            self._piles[name] = deque((topics[name], sent_at, body) for _, sent_at, body in pile)

    def marks(self) -> dict[str, int]:
        """How many messages of each topic are here."""
        return {topic: len(pile) for topic, pile in self._piles.items() if pile}

    def coming(self, most: Mapping[str, int]) -> list[tuple[str, int]]:
        """Topic and coming number of the first so many messages of each topic."""
        piles = {topic: self._piles[topic] for topic in most if topic in self._piles}
        return [
            (topic, known.sequence + at)
            for topic, pile in piles.items()
            for at, (known, *_) in enumerate(islice(pile, most[topic]), 1)
        ]

    def drop_first(self) -> Topic | None:
        """Throw away the oldest message of a topic, which is returned; None if there is none."""
        pile = next(filter(None, self._piles.values()), None)
        if pile is None:
            return None
        one = pile.popleft()
        self.count -= 1
        self.size -= _reckoned(one)
        return one[0]


def _reckoned(one: Raw) -> int:
    """Bytes of a message that has no number yet, about."""
    return len(one[0].form) + len(one[2])
