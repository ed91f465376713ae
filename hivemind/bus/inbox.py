"""The bounded queue between the reading of the socket and one subscription's workers.

The loop puts, workers take: tasks on the same loop, or threads. When it is full the oldest entry is dropped and
counted, because the newest is what a live subscription is for, and because nobody else may be kept waiting.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..message import Envelope

#: topic, payload, envelope as it came (as it was read if it has headers or is foreign), bytes that it took on the wire
Entry = tuple[str, Any, bytes | Envelope, int]
BATCH = 64  #: entries that a thread takes at once


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """How much may wait for one subscription's workers."""

    messages: int = 100_000
    size: int = 64 * 1024 * 1024


class Inbox:
    """A bounded queue with one putter, the event loop, and any number of takers.

    ``dropped`` counts what was thrown away because nobody took it in time.
    """

    __slots__ = (
        "_bytes_in",
        "_bytes_out",
        "_closed",
        "_entries",
        "_most",
        "_most_bytes",
        "_ready",
        "_waiters",
        "_waiting",
        "dropped",
    )

    def __init__(self, limits: InboxLimits | None = None) -> None:
        limits = limits or InboxLimits()
        self._most, self._most_bytes = limits.messages, limits.size
        self.dropped = 0
        self._entries: deque[Entry] = deque()
        self._bytes_in = self._bytes_out = 0  # the first is written by the putter only, the second under the lock
        self._closed = False
        self._waiting = 0
        self._ready = threading.Condition()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_closed(self) -> bool:
        """Whether nothing will be put any more."""
        return self._closed

    def put(self, entries: list[Entry]) -> None:
        """Add entries, on the loop; drop the oldest where there is no room."""
        size = sum([entry[3] for entry in entries])
        if len(self._entries) + len(entries) > self._most or self._bytes_in - self._bytes_out + size > self._most_bytes:
            for entry in entries:
                self._make_room(entry[3])
                self._entries.append(entry)
                self._bytes_in += entry[3]
        else:
            self._entries.extend(entries)
            self._bytes_in += size
        if self._waiters:
            self._wake_tasks(len(entries))
        elif self._waiting:
            with self._ready:
                woken = min(self._waiting, len(entries))
                self._waiting -= woken  # by us, not by the threads, which may take long to wake
                self._ready.notify(woken)

    def _make_room(self, size: int) -> None:
        while len(self._entries) >= self._most or self._bytes_in - self._bytes_out + size > self._most_bytes:
            if not self._entries:
                break
            self._drop()

    def _drop(self) -> None:
        try:
            self._bytes_in -= self._entries.popleft()[3]
        except IndexError:  # a thread was faster: then there is room
            return
        self.dropped += 1

    def _wake_tasks(self, most: int = 1) -> None:
        waiters = self._waiters
        while waiters and most:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                most -= 1

    async def wait(self) -> bool:
        """Return True when there is something to take, False when there is nothing and never will be. For tasks."""
        while not self._entries:
            if self._closed:
                return False
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if self._entries:  # we may have been woken for an entry that another has to take now
                    self._wake_tasks()
                raise
        return True

    def entries(self) -> Iterator[Entry]:
        """Take the oldest entry, again and again, until there is none. For tasks on the putter's loop."""
        entries = self._entries
        while entries:
            entry = entries.popleft()
            self._bytes_out += entry[3]
            yield entry

    def take(self) -> Entry | None:
        """Take the oldest entry, or None. For tasks on the putter's loop."""
        if not self._entries:
            return None
        entry = self._entries.popleft()
        self._bytes_out += entry[3]
        return entry

    def take_many(self, most: int = BATCH) -> list[Entry]:
        """Wait for entries and take up to ``most``; an empty list means that there will be none. For threads."""
        taken: list[Entry] = []
        while not taken:
            with self._ready:
                self._wait()
                if self._closed and not self._entries:
                    break
                while len(taken) < most:
                    try:
                        entry = self._entries.popleft()
                    except IndexError:  # the putter dropped it
                        break
                    taken.append(entry)
                    self._bytes_out += entry[3]
        return taken

    def _wait(self) -> None:
        """Return when there is something, or nothing will be. One is counted first and looks then: the putter, who
        takes no lock, puts first and looks then who is counted.
        """
        while True:
            self._waiting += 1
            if self._entries or self._closed:
                self._waiting = max(0, self._waiting - 1)
                return
            self._ready.wait()

    def close(self) -> None:
        """Nothing comes any more: takers get what is left, then the end. On the loop."""
        self._closed = True
        while self._waiters:
            self._wake_tasks()
        with self._ready:
            self._waiting = 0
            self._ready.notify_all()

    def abandon(self) -> int:
        """Throw away what is left and say how much it was."""
        with self._ready:
            left = len(self._entries)
            self._entries.clear()
            self._bytes_in = self._bytes_out
        return left
