"""The spool of a process that sends to several shards: one that numbers and bounds, and a lane for each shard."""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from heapq import merge

from ..topics import Names, ShardedNames
from .outgoing import Entry, OutboxOptions, Topic
from .spool import Spool, weight


def index_of(entry: Entry) -> int:
    """The how-manieth message it is."""
    return entry[3]


class Lane(Spool):
    """What one shard has to send: messages that have their numbers already, and count in the common spool."""

    def __init__(self, common: LanedSpool) -> None:
        super().__init__(common.names, common.options)
        self._common = common

    def feed(self, entries: list[Entry]) -> None:
        """Add messages that are newer than all that are here."""
        with self._lock:
            self._queue.extend(entries)
            self._bytes_in += weight(entries)

    def insert(self, entries: list[Entry]) -> None:
        """Add messages of another lane, where they belong."""
        with self._lock:
            self._merge(entries)
            self._bytes_in += weight(entries)

    def put_back(self, entries: list[Entry]) -> None:
        """Return what was taken to where it belongs: older messages of another lane may have come meanwhile."""
        with self._lock:
            self._merge(entries)
            self._bytes_taken -= weight(entries)

    def _merge(self, entries: list[Entry]) -> None:
        self._queue = deque(merge(self._queue, sorted(entries, key=index_of), key=index_of))

    def pick(self, is_wanted: Callable[[str], bool]) -> list[Entry]:
        """Take out the messages of some topics."""
        with self._lock:
            picked = [entry for entry in self._queue if is_wanted(entry[1])]
            if picked:
                self._queue = deque(entry for entry in self._queue if not is_wanted(entry[1]))
                self._bytes_in -= weight(picked)
        return picked

    def settle(self, messages: int, size: int) -> None:
        """Redis has answered: what matters is how much there is in all lanes."""
        self._common.settle(messages, size)

    @property
    def oldest(self) -> int:
        """The how-manieth message the oldest here is."""
        with self._lock:
            return self._queue[0][3] if self._queue else sys.maxsize

    def drop_first(self) -> int:
        """Throw the oldest message away and say how many bytes it had; 0 if there is none."""
        with self._lock:
            size = len(self._queue.popleft()[0]) if self._queue else 0
            self._bytes_in -= size
            return size


class LanedSpool(Spool):
    """The common spool. Without lanes it is any other; with them it keeps only what is for nobody's topic."""

    def __init__(self, names: Names, options: OutboxOptions | None = None) -> None:
        super().__init__(names, options)
        self.names = names
        self.lanes: Callable[[], Iterable[Lane]] = tuple
        self.unanswered: Callable[[], Iterable[Entry]] = tuple  # messages that have a number and no answer
        self._lane_of: Callable[[str], Lane] | None = None
        self._notices: list[Entry] = []
        self._owed: set[str] = set()  # topics of which receivers were not told all

    def spread(self, lane_of: Callable[[str], Lane]) -> None:
        """Hand out what is here, and what will come, to lanes."""
        with self._lock:
            self._number()
            self.names, self._lane_of = ShardedNames(self.names.hive), lane_of
            for name, known in self._topics.items():
                known.form = self._made(name).form

    def _made(self, topic: str) -> Topic:
        verb = b"PUBLISH" if self._lane_of is None else b"SPUBLISH"
        return Topic(topic, self.names.live(topic), self._head, verb)

    def __len__(self) -> int:
        return super().__len__() + len(self._notices)

    def hand_out(self) -> None:
        """Give every message to its lane. On the loop only."""
        assert self._lane_of is not None
        by_lane: defaultdict[Lane, list[Entry]] = defaultdict(list)
        by_topic = {"": self._notices}
        for entry in super().take(sys.maxsize):
            pile = by_topic.get(entry[1])
            if pile is None:
                pile = by_topic[entry[1]] = by_lane[self._lane_of(entry[1])]
            pile.append(entry)
        for lane, entries in by_lane.items():
            lane.feed(entries)

    def take(self, most: int) -> list[Entry]:
        """Take what is for the home."""
        if self._lane_of is None:
            return super().take(most)
        notices, self._notices = self._notices, []
        return notices

    def last_sequences(self) -> list[dict[str, int]]:
        """As ever, but only what Redis has confirmed: the rest may come to receivers later than this."""
        if self._lane_of is None:
            return super().last_sequences()
        said = super().last_sequences()
        first: dict[str, int] = {}
        for _, topic, sequence, _ in self.unanswered():
            first[topic] = min(sequence, first.get(topic, sequence))
        owed, self._owed = self._owed, set(first)
        with self._lock:
            said.append({name: self._topics[name].sequence for name in owed if name in self._topics})
        cut = [{topic: min(last, first.get(topic, last + 1) - 1) for topic, last in part.items()} for part in said]
        return [{topic: last for topic, last in part.items() if last} for part in cut if part] or [{}]

    def _drop_oldest(self) -> None:
        """What is in a lane is older than what is here."""
        while self._is_full:
            lane = min(self.lanes(), key=lambda one: one.oldest, default=None)
            size = lane.drop_first() if lane is not None else 0
            if not size:
                break
            self._bytes_in -= size
            self._bytes_taken -= size
            self.dropped += 1
        super()._drop_oldest()
