"""What a process says of Redis being away: once, then once a minute, and its end once.

Every connection of a process, and whoever of it waits for an answer, tells it here instead of complaining for itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum

from ..english import amount, duration
from ..errors import RedisDenied, RedisError, RedisRefused
from ..states import OUTAGE, OutageState, advance

log = logging.getLogger("hivemind.redis")

REMIND = 60.0  #: seconds between two words on the same outage
BRIEF = 5.0  #: seconds that another outage lasts, within a minute of the last word, before a word is lost on it
FULL = (
    "all connections that it allows are taken: raise maxclients in its configuration, or end what need not be connected"
)


class Trouble(StrEnum):
    """What is wrong, in the words that stand before the reason."""

    AWAY = "waiting for Redis"
    FULL = "Redis takes no more connections"
    DENIED = "Redis denies us"
    REFUSED = "Redis refuses what it is asked for"


def trouble_of(error: RedisError | str) -> Trouble:
    """What is wrong when somebody failed with ``error``."""
    if isinstance(error, RedisDenied):
        return Trouble.DENIED
    if isinstance(error, RedisRefused):
        return Trouble.REFUSED
    return Trouble.FULL if FULL in str(error) else Trouble.AWAY


class Outage:
    """One outage of Redis after the other, as one process sees them.

    It begins when the first of those who need Redis has ``failed``, and ends when the last of them is ``back``. The
    first word of each kind of trouble is said at once; but within a minute of the last word only once the outage has
    lasted for 5 s, so that a Redis that comes and goes fills no log. ``clock`` is in seconds and never set; ``wall`` in
    unix seconds. ``waiting`` and ``dropped`` count messages, as its owner has them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self.waiting: Callable[[], int] = _none
        self.dropped: Callable[[], int] = _none
        self.state = OutageState.WELL
        self.tries = 0  # in this outage, of all together
        self._clock, self._wall = clock, wall
        self._away: dict[Hashable, str] = {}  # who, and why
        self._since, self._dropped = 0.0, 0
        self._said: set[Trouble] = set()
        self._last_word = float("-inf")
        self._unsaid = 0  # outages that were over before a word was said
        self._reason = self._last = ""
        self._connected = asyncio.Event()

    @property
    def since(self) -> float | None:
        """When this outage began, by the clock; None when there is none."""
        return None if self.state is OutageState.WELL else self._since

    @property
    def text(self) -> str:
        """The outage, or else the last one, in words; "" when there was none."""
        if self.state is OutageState.WELL:
            return self._last
        return f"{self._reason}, since {_stamp(self._wall() - self._lasted())}"

    def failed(self, who: Hashable, error: RedisError | str) -> None:
        """Somebody has lost Redis, or has tried in vain to reach it; ``error`` says why."""
        trouble = trouble_of(error)
        if self.state is OutageState.WELL:
            self._begin()
        self.tries += 1
        self._away[who] = self._reason = f"{trouble}: {error}"
        self._speak(trouble)

    def back(self, who: Hashable) -> None:
        """Somebody has what he needs of Redis; nothing if he had not failed."""
        if self._away.pop(who, None) is None:
            return
        self._connected.set()
        self._connected = asyncio.Event()
        if not self._away:
            self._end()

    def forget(self, who: Hashable) -> None:
        """Somebody needs Redis no more, and says nothing of how it is."""
        if self._away.pop(who, None) is not None and not self._away:
            self.state = advance(OUTAGE, self.state, OutageState.WELL)

    async def rest(self, seconds: float) -> None:
        """Wait for so long before the next try, or until somebody of this process has reached Redis."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._connected.wait()

    def _begin(self) -> None:
        self.state = advance(OUTAGE, self.state, OutageState.NOTICED)
        self._since, self._dropped, self.tries = self._clock(), self.dropped(), 0
        self._said.clear()

    def _lasted(self) -> float:
        return self._clock() - self._since

    def _speak(self, trouble: Trouble) -> None:
        """Say what is wrong if it is new, or was said a minute ago."""
        silence = self._clock() - self._last_word
        if self.state is OutageState.NOTICED and silence < REMIND and self._lasted() < BRIEF:
            return
        if trouble not in self._said:
            log.warning("%s; it is tried again until it works%s", self._reason, self._before())
        elif silence >= REMIND:
            lasted, failures = duration(self._lasted()), amount(self.tries, "failure")
            log.warning("%s; for %s now (%s)%s", self._reason, lasted, failures, self._messages())
        else:
            return
        self._said.add(trouble)
        self._last_word = self._clock()
        self.state = advance(OUTAGE, self.state, OutageState.SAID)

    def _before(self) -> str:
        unsaid, self._unsaid = self._unsaid, 0
        return f" (since the last word it was away for a moment {amount(unsaid, 'more time')})" if unsaid else ""

    def _messages(self) -> str:
        """What becomes of messages meanwhile."""
        waiting, dropped = self.waiting(), self.dropped() - self._dropped
        wait = f"; {amount(waiting, 'message')} wait{'s' * (waiting == 1)} here" if waiting else ""
        return wait + (f"; {amount(dropped, 'message')} dropped meanwhile, for lack of room" if dropped else "")

    def _end(self) -> None:
        lasted = duration(self._lasted())
        self._last = f"{self._reason}, for {lasted} until {_stamp(self._wall())}"
        if self.state is OutageState.SAID:
            log.info("Redis is back after %s (%s)%s", lasted, amount(self.tries, "failure"), self._messages())
        else:
            self._unsaid += 1
        self.state = advance(OUTAGE, self.state, OutageState.WELL)


def _none() -> int:
    return 0


def _stamp(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
