"""Threads on which ``def`` handlers run: as many as block at the same time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

log = logging.getLogger(__name__)

IDLE = 10.0  #: seconds after which a thread that has nothing to do ends
MOST = 2_000  #: threads: what comes then waits for one that gets free

Work = Callable[[], None]


class Threads:
    """Takes work on the loop, and does it at once: on a thread that is free, or on a new one.

    They are daemons: a handler that blocks for ever keeps no program from ending, as it would with those of
    ``concurrent.futures``.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._free = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._count = self._made = self._owed = 0
        self._closed = False
        self._all = set[threading.Thread]()

    def do(self, work: Work) -> None:
        """Have it done."""
        self._work.put(work)
        if self._free.acquire(blocking=False):
            return
        with self._lock:
            if self._count >= MOST:
                self._owed += 1
                return
            self._count += 1
            self._made += 1
            name = f"{self._name} {self._made}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def is_one(self) -> bool:
        """Whether this is one of them."""
        return threading.current_thread() in self._all

    def close(self) -> None:
        """End those that are free, and the others when they are."""
        self._closed = True
        for _ in range(self._count):
            self._work.put(None)

    def _run(self) -> None:
        self._all.add(threading.current_thread())
        try:
            while not self._closed:
                work = self._next()
                if work is None:
                    return
                try:
                    work()
                except Exception:
                    log.exception("a thread of %s failed", self._name)
                self._be_free()
        finally:
            self._all.discard(threading.current_thread())
            with self._lock:
                self._count -= 1

    def _be_free(self) -> None:
        with self._lock:
            if self._owed:  # there is work that nobody was waiting for
                self._owed -= 1
                return
        self._free.release()

    def _next(self) -> Work | None:
        while True:
            try:
                return self._work.get(timeout=IDLE)
            except Empty:
                if self._free.acquire(blocking=False):  # nobody counts on this one any more
                    return None
