"""What a process has to send: numbered and bounded. Any thread adds, one link takes.

A message counts as waiting from ``add`` until the link's owner says with ``settle`` that Redis has answered for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from time import time

from orjson import dumps

from ..errors import HivemindError, OutboxFull
from ..message import head
from ..topics import Names, check_topic
from .held import Held
from .outgoing import Entry, OutboxOptions, Raw, Topic
from .queues import Queue

TOLD = 1000  #: topics in one report of what was sent last
INTAKE = 256  #: small messages that may be added before the limits are looked at
SMALL = 4096  #: bytes of a small message's command at the most
SMALL_BODY = SMALL - 1024  #: bytes of its body: names and numbers around it take less than the rest


class Spool:
    """A bounded queue of commands that remembers the number of the last message on each topic.

    ``dropped`` counts what policy ``drop-oldest`` threw away. ``wake`` is called, on the adding thread, when there is
    something to take after there was nothing.

    Adding has to be cheap: a message goes into the intake without a lock, and gets its number and its form when the
    intake is emptied. How many the intake may hold is reckoned beforehand, so that a limit is passed by no more than
    one message for each thread that adds.

    The messages of a topic may be held: they wait aside, without numbers, until it is released. ``on_new`` is asked of
    every topic before its first message, on the adding thread, whether that is to be held.
    """

    def __init__(self, names: Names, options: OutboxOptions | None = None) -> None:
        options = options or OutboxOptions()
        self._policy = options.policy
        self.wake: Callable[[], None] = _nobody
        self.dropped = 0
        self._thread = 0  # that of the event loop: there nobody may wait for room
        self._is_awake = False  # whether somebody will look soon, so that nobody has to be woken
        self._most, self._most_bytes = options.messages, options.size
        self.on_new: Callable[[str], bool] | None = None
        self._names = names
        self._head = b""
        self._topics: dict[str, Topic] = {}  # those used last come last
        self._untold: list[str] = []
        self._intake: deque[Raw] = deque()
        self._allowance = 0
        self._held = Held()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._queue = Queue()
        # Each counter is written in one place only: under the lock, or on the loop (those that begin with settled).
        self._numbered = self._bytes_in = 0
        self._settled = self._settled_bytes = 0
        self._closed = False

    def identify(self, instance: str, incarnation: int) -> None:
        """Say who sends. Sequences begin anew with another incarnation; what is held is sent in it."""
        new = head(instance, incarnation)
        with self._lock:
            if new != self._head:
                self._number()
                self._head = new
                self._untold.clear()
                self._topics = {topic: self._made(topic) for topic in self._held}
                self._held.rename(self._topics)

    def begin(self) -> None:
        """From now on this thread is that of the event loop, and whoever adds next has to wake it."""
        self._thread = threading.get_ident()
        self._is_awake = False

    def rouse(self) -> None:
        """Have somebody look, on the loop, whether there is something to take."""
        if not self._is_awake:
            self._is_awake = True
            self.wake()

    def attend(self) -> None:
        """Whoever takes is looking: who adds from now on has to wake it again."""
        self._is_awake = False

    def add(self, topic: str, body: bytes) -> None:
        """Queue one message. Waits on a thread while there is no room; raises OutboxFull on the loop, or as the policy
        says, and InvalidName.
        """
        known = self._topics.get(topic) or self._new_topic(topic)
        if len(self._intake) < self._allowance and len(body) < SMALL_BODY:
            self._intake.append((known, time(), body))
        else:
            self._add_with_care(known, body)
        if not self._is_awake:
            self._is_awake = True
            self.wake()

    def _add_with_care(self, known: Topic, body: bytes) -> None:
        with self._lock:
            self._number()
            if self._is_full:
                self._make_room()
            self._intake.append((known, time(), body))
            self._number()

    def add_notice(self, command: bytes) -> None:
        """Queue a command of ours behind the messages added so far; it does not count. On the loop only."""
        with self._lock:
            self._number()
            self._queue.entries.append((command, "", 0, 0))

    def take(self, most: int) -> list[Entry]:
        """Take what was added, about ``most`` bytes of it. On the loop only."""
        with self._lock:
            self._number()
            return self._queue.take(most)

    def put_back(self, entries: list[Entry]) -> None:
        """Return what was taken, to be taken again first and in the same order. On the loop only."""
        with self._lock:
            self._queue.put_back(entries)

    def settle(self, messages: int, size: int) -> None:
        """Redis has answered for so many messages of so many bytes. On the loop only."""
        self._settled += messages
        self._settled_bytes += size
        if self.is_roomy:
            with self._lock:
                self._room.notify_all()

    def hold(self, topics: Iterable[str]) -> None:
        """Hold the messages that come on these topics from now on."""
        with self._lock:
            self._number()
            for topic in topics:
                self._held.hold(topic)

    def release(self, topics: Iterable[str]) -> None:
        """Hold the messages of these topics no longer."""
        with self._lock:
            self._number()
            for topic in topics:
                self._intake.extendleft(reversed(self._held.release(topic)))  # whoever adds now comes behind them
            self._number()

    def topics(self) -> list[str]:
        """All topics that were used."""
        with self._lock:
            return list(self._topics)

    def counts(self, most: int) -> dict[str, int]:
        """How many messages were sent on each topic in the present name, of the ``most`` topics that were used last."""
        with self._lock:
            self._number()
            return {name: self._topics[name].sequence for name in islice(reversed(self._topics), most)}

    def mark(self) -> tuple[int, dict[str, int]]:
        """How many messages were added that can be taken or were, and how many of each topic are held."""
        with self._lock:
            self._number()
            return self._numbered, self._held.marks()

    def holds(self, topics: Iterable[str]) -> bool:
        """Whether one of ``topics`` is held."""
        return any(topic in self._held for topic in topics)

    def held(self, most: Mapping[str, int]) -> list[tuple[str, int]]:
        """Topic and coming number of the first so many messages that are held, of each topic."""
        with self._lock:
            return self._held.coming(most)

    def close(self) -> None:
        """Let nobody wait for room any more."""
        with self._lock:
            self._closed = True
            self._room.notify_all()

    # -- how much there is

    def __len__(self) -> int:
        return len(self._queue) + len(self._intake)

    @property
    def sent(self) -> int:
        """How many messages were added."""
        return self._numbered + len(self._intake) + self._held.count

    @property
    def waiting(self) -> int:
        """How many messages are not settled."""
        return self.sent - self.dropped - self._settled

    @property
    def size(self) -> int:
        """How many bytes are not settled."""
        return self._bytes_in + self._held.size - self._settled_bytes

    @property
    def is_roomy(self) -> bool:
        """Whether no more than half of it is taken."""
        return self.waiting <= self._most // 2 and self.size <= self._most_bytes // 2

    @property
    def _is_full(self) -> bool:
        return self.waiting >= self._most or self.size >= self._most_bytes

    def queued(self) -> list[Entry]:
        """The messages that can be taken."""
        with self._lock:
            self._number()
            return self._queue.messages()

    def first(self) -> Entry | None:
        """The oldest message that can be taken."""
        with self._lock:
            self._number()
            return self._queue.first()

    def last_sequences(self) -> list[dict[str, int]]:
        """The number of the last message on each topic, in portions of TOLD topics: on all topics used since the last
        call, and on those used last before, because what was told may have been lost.
        """
        with self._lock:
            self._number()
            untold = [name for name in self._untold if name in self._topics]
            self._untold.clear()
            for name in untold:
                self._topics[name] = known = self._topics.pop(name)
                known.is_told = True
            names = list(islice(reversed(self._topics), max(TOLD, len(untold))))
            last = [(name, self._topics[name].sequence) for name in names]
        return [dict(last[start : start + TOLD]) for start in range(0, len(last), TOLD)] or [{}]

    def _new_topic(self, topic: str) -> Topic:
        name = check_topic(topic)
        if not self._head:
            raise HivemindError("nothing can be sent before the node is registered: send from on_start on")
        with self._lock:
            known = self._topics.get(name)
            if known is None:
                known = self._topics[name] = self._made(name)
                on_new = self.on_new
                if on_new is not None and on_new(name):
                    self._held.hold(name)
            return known

    def _made(self, topic: str) -> Topic:
        return Topic(topic, self._names.live(topic), self._head)

    # -- under the lock

    def _number(self) -> None:
        """Empty the intake: each message gets its number and its form. Then reckon how many more may come in."""
        intake = self._held.sort(self._intake) if self._held else self._intake
        take, append, numbered, size = intake.popleft, self._queue.entries.append, self._numbered, 0
        for _ in range(len(intake)):
            known, sent_at, body = take()
            known.sequence = sequence = known.sequence + 1
            if sequence >= known.limit:
                known.grow()
            at = dumps(sent_at)
            command = known.form % (known.size + len(at) + len(body), sequence, at, body)
            numbered += 1
            append((command, known.name, sequence, numbered))
            size += len(command)
            if known.is_told:
                self._tell_of(known)
        self._numbered = numbered
        self._bytes_in += size
        self._queue.size += size
        self._allowance = min(INTAKE, self._most - self.waiting, (self._most_bytes - self.size) // SMALL)

    def _tell_of(self, known: Topic) -> None:
        known.is_told = False
        self._untold.append(known.name)

    def _make_room(self) -> None:
        policy = self._policy
        if policy == "drop-oldest":
            self._drop_oldest()
        elif policy == "block" and threading.get_ident() != self._thread:
            self._room.wait_for(lambda: self._closed or not self._is_full)
            if self._closed:
                raise OutboxFull("the outbox was closed while a message waited for room")
        else:
            hint = "await drain() between sends" if policy == "block" else f"the policy is {policy!r}"
            raise OutboxFull(f"{self.waiting:,} messages ({self.size:,} bytes) wait for Redis; {hint}")

    def _drop_oldest(self) -> None:
        while self._is_full and (size := self._queue.drop_first()):  # what is under way cannot be taken back
            self._bytes_in -= size
            self.dropped += 1
        while self._is_full and (known := self._held.drop_first()) is not None:
            known.skip()
            if known.is_told:
                self._tell_of(known)
            self._numbered += 1
            self.dropped += 1


def _nobody() -> None:
    """Nobody takes yet."""
