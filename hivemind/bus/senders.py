"""The senders that a process has heard: their beats say what they sent last, so that a lost tail shows too."""

from __future__ import annotations

import asyncio
import time

import orjson

from ..message import is_count
from ..topics import Names
from .ledger import MOST_SENDERS
from .live import Live

WATCH = 60.0  #: seconds between two looks at which senders have fallen silent
LONGEST_NAME = 128  #: characters of a sender's name; longer ones are nobody's
SILENT = 120.0  #: seconds without a beat after which a sender is forgotten


class Senders:
    """Listens to the beats of those that ``watch`` was called for, until they fall silent."""

    def __init__(self, live: Live, names: Names) -> None:
        self._live, self._names = live, names
        self.heard: dict[str, float] = {}  # who, and when last
        self._gaps = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look, now and then, who has fallen silent."""
        self._timer = asyncio.get_running_loop().call_later(WATCH, self.forget_silent)

    def close(self) -> None:
        """Look no more. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()

    def watch(self, name: str) -> None:
        """Listen to a sender's beats."""
        if name and name not in self.heard and len(self.heard) < MOST_SENDERS and len(name) <= LONGEST_NAME:
            self.heard[name] = time.monotonic()
            self._live.listen(self._names.beat(name), self._beat)

    def _beat(self, body: bytes) -> None:
        try:
            said = orjson.loads(body)
            name, incarnation, last = said["n"], said["e"], said["last"]
            last = {topic: number for topic, number in last.items() if is_count(number)}
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # not a beat of ours: anybody may publish there
        if not is_count(incarnation) or name.__class__ is not str or name not in self.heard:
            return
        self.heard[name] = time.monotonic()
        self._live.enter_tail(name, incarnation, last)

    def forget_silent(self) -> None:
        """Look who has fallen silent; where something passed by, that says nothing of them."""
        self.start()
        for subscription in self._live.subscriptions:
            subscription.ledger.latest += WATCH * 1000
        if not self._live.link.is_up or self._live.gaps != self._gaps:
            self._gaps = self._live.gaps
            self.heard = dict.fromkeys(self.heard, time.monotonic())
            return
        limit = time.monotonic() - SILENT
        for name in [name for name, heard in self.heard.items() if heard < limit]:
            del self.heard[name]
            self._live.unlisten(self._names.beat(name), self._beat)
            for subscription in self._live.subscriptions:
                subscription.ledger.forget(name)
