"""What the processes of one measurement share: counters in a file that all of them map.

Every slot has one writer. The window is what keeps a rate honest: a sender stops while ``limit`` messages are not
handled yet, whoever the peer is, so that nothing is counted that only piled up somewhere.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

BATCH = 200  #: messages that a sender takes at once
MOST_SAMPLES = 65_536
HELLO, SETTLED = 0.02, 5  #: seconds between two hellos; looks without a change after which all hellos have come
FULL = 0.001  #: seconds that a sender sleeps when the window is full
_HEAD = 8
_OVER, _SENT, _BEGUN, _SAMPLES, _READERS, _LIMIT = range(6)


class Window:
    """The shared counters of one measurement with ``readers`` subscribers."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        whole = memoryview(self._map).cast("q")
        self._head, rest = whole[:_HEAD], whole[_HEAD:]
        readers = self.readers = self._head[_READERS]
        #: messages handled by each subscriber; each adds to its own
        self.handled = rest[:readers]
        self._base = rest[readers : 2 * readers]
        self._samples = rest[2 * readers :]

    @classmethod
    def create(cls, path: Path, readers: int = 1, limit: int = 20_000) -> Self:
        """A new one in the file ``path``."""
        with path.open("wb") as file:
            file.truncate(8 * (_HEAD + 2 * readers + MOST_SAMPLES))
            file.seek(8 * _READERS)
            file.write(readers.to_bytes(8, "little"))
        window = cls(path)
        window.limit = limit
        return window

    @property
    def is_over(self) -> bool:
        """Whether senders should stop."""
        return bool(self._head[_OVER])

    def end(self) -> None:
        """Tell senders to stop."""
        self._head[_OVER] = 1

    @property
    def limit(self) -> int:
        """How many messages may be on their way to one subscriber."""
        return self._head[_LIMIT]

    @limit.setter
    def limit(self, messages: int) -> None:
        self._head[_LIMIT] = messages

    @property
    def sent(self) -> int:
        """Messages that the sender was allowed."""
        return self._head[_SENT]

    @sent.setter
    def sent(self, messages: int) -> None:
        self._head[_SENT] = messages

    @property
    def has_begun(self) -> bool:
        """Whether every subscriber is there, and messages count."""
        return bool(self._head[_BEGUN])

    def begin(self) -> None:
        """From now on messages count: those handled before were hellos."""
        self._base[:] = self.handled
        self._head[_BEGUN] = 1

    def counts(self) -> list[int]:
        """What each subscriber has handled since ``begin``."""
        if self.readers == 1:
            return [self.handled[0] - self._base[0]]
        return [handled - base for handled, base in zip(self.handled, self._base, strict=True)]

    def sample(self, value: int) -> None:
        """Keep one measured value, such as a latency in nanoseconds."""
        number = self._head[_SAMPLES]
        self._samples[number % MOST_SAMPLES] = value
        self._head[_SAMPLES] = number + 1

    def samples(self, first: int = 0) -> list[int]:
        """The values from the ``first`` on, of which the last MOST_SAMPLES are kept."""
        until = self.sampled
        return [self._samples[number % MOST_SAMPLES] for number in range(max(first, until - MOST_SAMPLES), until)]

    @property
    def sampled(self) -> int:
        """How many values there are."""
        return self._head[_SAMPLES]


class Sender:
    """Says to a publishing process what to send next. ::

        while not sender.is_over:
            for payload in sender.payloads():
                publish(payload)
            time.sleep(sender.pause)

    First it says hello until every subscriber has heard it, so that nobody needs to know when a subscription holds.
    """

    def __init__(self, window: Window, make: Callable[[Sequence[int]], list[Any]], batch: int, gap: float) -> None:
        self.window, self.pause = window, 0.0
        self._make, self._batch, self._gap = make, batch, gap
        self._sent = 0
        self._heard: tuple[list[int], int] = ([], 0)

    @property
    def is_over(self) -> bool:
        """Whether to stop."""
        return self.window.is_over

    def payloads(self) -> list[Any]:
        """What to send now; afterwards sleep for ``pause`` seconds."""
        if not self.window.has_begun:
            return self._hello()
        room = self.window.limit - self._sent + min(self.window.counts())
        count = min(room, self._batch)
        if count <= 0:
            self.pause = FULL
            return []
        first, self._sent = self._sent, self._sent + count
        self.window.sent = self._sent
        self.pause = self._gap
        return self._make(range(first, self._sent))

    def _hello(self) -> list[Any]:
        self.pause = HELLO
        handled = list(self.window.handled)
        if min(handled) == 0:
            return self._make(range(1))
        before, looks = self._heard
        self._heard = (handled, looks + 1 if handled == before else 0)
        if looks >= SETTLED:
            self.window.begin()
        return []


def wait_until(what: str, check: Callable[[], bool], timeout: float, step: float = 0.005) -> None:
    """Return when ``check`` is true. Raises TimeoutError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(step)
