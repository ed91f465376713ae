"""Messages that have their numbers and wait to be taken, in order. Nothing here is locked: who owns it does that."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from heapq import merge

from .outgoing import Entry


def index_of(entry: Entry) -> int:
    """The how-manieth message it is."""
    return entry[3]


def weight(entries: Iterable[Entry]) -> int:
    """Bytes of the messages among ``entries``."""
    return sum([len(entry[0]) for entry in entries if entry[1]])


class Queue:
    """Messages and notices; ``size`` is how many bytes of messages are here. Append to ``entries``, and add to it."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def oldest(self) -> int:
        """The how-manieth message the oldest here is; more than any if there is none."""
        return self.entries[0][3] if self.entries else sys.maxsize

    def extend(self, entries: list[Entry]) -> None:
        """Add what is newer than all that is here."""
        self.entries.extend(entries)
        self.size += weight(entries)

    def insert(self, entries: list[Entry]) -> None:
        """Add messages where they belong."""
        if entries:
            self.entries = deque(merge(self.entries, sorted(entries, key=index_of), key=index_of))
            self.size += weight(entries)

    def put_back(self, entries: list[Entry]) -> None:
        """Return what was taken, to be taken again first and in the same order."""
        self.entries.extendleft(reversed(entries))
        self.size += weight(entries)

    def take(self, most: int) -> list[Entry]:
        """Take about ``most`` bytes."""
        entries = self.entries
        if self.size <= most:
            taken = list(entries)
            entries.clear()
            self.size = 0
            return taken
        taken = []
        while entries and most > 0:
            entry = entries.popleft()
            taken.append(entry)
            most -= len(entry[0])
        self.size -= weight(taken)
        return taken

    def pick(self, is_wanted: Callable[[str], bool]) -> list[Entry]:
        """Take out the messages of some topics."""
        picked = [entry for entry in self.entries if is_wanted(entry[1])]
        if picked:
            self.entries = deque(entry for entry in self.entries if not is_wanted(entry[1]))
            self.size -= weight(picked)
        return picked

    def messages(self) -> list[Entry]:
        """What is here, but for notices."""
        return [entry for entry in self.entries if entry[1]]

    def first(self) -> Entry | None:
        """The oldest message."""
        return next((entry for entry in self.entries if entry[1]), None)

    def take_until(self, target: int) -> list[Entry]:
        """Take the messages among the first ``target`` of all, and what stands between them."""
        taken = []
        while self.entries and self.entries[0][3] <= target:
            taken.append(self.entries.popleft())
        self.size -= weight(taken)
        return taken

    def drop_first(self) -> int:
        """Throw the oldest message away, with the notices before it; its bytes, 0 if there is none."""
        while self.entries:
            command, topic, _, _ = self.entries.popleft()
            if topic:
                self.size -= len(command)
                return len(command)
        return 0
