"""The spool of a process that sends to several shards: one that numbers and bounds, and a lane for each shard."""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Set

from ..topics import Names, ShardedNames
from .outgoing import Entry, OutboxOptions, Topic
from .queues import Queue
from .spool import Spool


class Lane:
    """What one shard has to send: messages that have their numbers already, and count in the common spool.

    The loop feeds and takes; whichever thread finds the common spool full may drop the oldest.
    The messages of some topics may be held: they are here, and cannot be taken. ``len`` is how many can.
    """

    def __init__(self) -> None:
        self._queue = Queue()
        self._aside = Queue()  # what is held
        self._held: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is here."""
        return not self._queue and not self._aside

    def hold(self, topics: Set[str]) -> None:
        """Let the messages of these topics, also those to come, not be taken."""
        with self._lock:
            self._held |= topics
            self._aside.insert(self._queue.pick(topics.__contains__))

    def let_go(self, topics: Set[str]) -> None:
        """Hold the messages of these topics no longer."""
        with self._lock:
            self._held -= topics
            self._queue.insert(self._aside.pick(topics.__contains__))

    def _sorted(self, entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
        """Those that may be taken, and those that are held."""
        if not self._held:
            return entries, []
        held = [entry for entry in entries if entry[1] in self._held]
        return [entry for entry in entries if entry[1] not in self._held], held

    def feed(self, entries: list[Entry]) -> None:
        """Add messages that are newer than all that are here."""
        with self._lock:
            free, held = self._sorted(entries)
            self._queue.extend(free)
            self._aside.extend(held)

    def put_back(self, entries: list[Entry]) -> None:
        """Return what was taken, here or from another lane, to where it belongs."""
        with self._lock:
            free, held = self._sorted(entries)
            self._queue.insert(free)
            self._aside.insert(held)

    def take(self, most: int) -> list[Entry]:
        """Take the oldest messages, about ``most`` bytes of them."""
        with self._lock:
            return self._queue.take(most)

    def pick(self, is_wanted: Callable[[str], bool]) -> list[Entry]:
        """Take out the messages of some topics."""
        with self._lock:
            return self._queue.pick(is_wanted) + self._aside.pick(is_wanted)

    def queued(self) -> list[Entry]:
        """The messages that are here."""
        with self._lock:
            return self._queue.messages() + self._aside.messages()

    @property
    def oldest(self) -> int:
        """The how-manieth message the oldest here is."""
        with self._lock:
            return min(self._queue.oldest, self._aside.oldest)

    def drop_first(self) -> int:
        """Throw the oldest message away and say how many bytes it had; 0 if there is none."""
        with self._lock:
            return min(self._queue, self._aside, key=lambda one: one.oldest).drop_first()


class LanedSpool(Spool):
    """The common spool. Without lanes it is any other; with them it keeps only notices, which go to the home."""

    def __init__(self, names: Names, options: OutboxOptions | None = None) -> None:
        super().__init__(names, options)
        self._lanes: Callable[[], Iterable[Lane]] = tuple
        self._unanswered: Callable[[], Iterable[Entry]] = tuple
        self._lane_of: Callable[[str], Lane] | None = None
        self._notices: list[Entry] = []
        self._owed: set[str] = set()  # topics of which receivers were not told all

    def spread(
        self,
        lane_of: Callable[[str], Lane],
        lanes: Callable[[], Iterable[Lane]],
        unanswered: Callable[[], Iterable[Entry]],
    ) -> None:
        """Hand out what is here, and what will come, to lanes: that of each topic is one of all ``lanes``.

        ``unanswered`` are the messages that have a number and no answer.
        """
        with self._lock:
            self._number()
            self._lanes, self._unanswered = lanes, unanswered
            self._names, self._lane_of = ShardedNames(self._names.hive), lane_of
            for name, known in self._topics.items():
                known.form = self._made(name).form

    def _made(self, topic: str) -> Topic:
        verb = b"PUBLISH" if self._lane_of is None else b"SPUBLISH"
        return Topic(topic, self._names.live(topic), self._head, verb)

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

    def put_back(self, entries: list[Entry]) -> None:
        """Return what was taken for the home; if it has a lane by now, to that."""
        if self._lane_of is None:
            super().put_back(entries)
            return
        for entry in entries:
            self._lane_of(entry[1]).put_back([entry])

    def last_sequences(self) -> list[dict[str, int]]:
        """As ever, but only what Redis has confirmed: the rest may come to receivers later than this."""
        if self._lane_of is None:
            return super().last_sequences()
        said = super().last_sequences()
        first: dict[str, int] = {}
        for _, topic, sequence, _ in self._unanswered():
            first[topic] = min(sequence, first.get(topic, sequence))
        owed, self._owed = self._owed, set(first)
        with self._lock:
            said.append({name: self._topics[name].sequence for name in owed if name in self._topics})
        cut = [{topic: min(last, first.get(topic, last + 1) - 1) for topic, last in part.items()} for part in said]
        return [{topic: last for topic, last in part.items() if last} for part in cut if part] or [{}]

    def _drop_oldest(self) -> None:
        """What is in a lane is older than what is here."""
        while self._is_full:
            lane = min(self._lanes(), key=lambda one: one.oldest, default=None)
            size = lane.drop_first() if lane is not None else 0
            if not size:
                break
            self._bytes_in -= size
            self.dropped += 1
        super()._drop_oldest()
