"""Which messages of a group are tried again now: what failed, when it is due, and what a life that ended left.

Any message may have ended the life that held it, and may end ours. So no more of them are tried again at once than
there are workers: what is not under way when a life ends has lost no try. One that was under way then, in a try that is
not its first, is suspect: those are tried before all others, and each alone. So a message that kills whoever handles it
is known by its tries, and takes no other with it. Of those that were only given out nobody knows which were begun.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ..bell import Bell
from .jobs import LONG
from .streams import Held

Key = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Rules:
    """How often a message is tried again after its first try, after how many seconds at least and at most, how many
    dead letters of a topic are kept, and how many messages are tried again ``at_once``. For ``window`` seconds nothing
    is handled twice; what has the same key, ``order_by``, is handled in order.
    """

    retries: int = 5
    first: float = 0.5
    longest: float = 60.0
    letters: int = 100_000
    at_once: int = 1
    window: float = 0.0
    order_by: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether messages need no more than to be acknowledged."""
        return not self.window and not self.order_by

    def delay(self, tries: int) -> float:
        """Seconds between a try that failed, the ``tries``-th, and the next."""
        return min(self.longest, self.first * 2.0 ** min(tries - 1, 60))


class Trial(Protocol):
    """A try that is under way."""

    topic: str
    entry: bytes
    again: bool


class Trials:
    """Calls ``retake(topic, entry)`` for each message that is to be tried again; it returns None for what is not.

    ``run`` is the job; it returns after how many seconds it wants to be called again if ``bell`` has not rung before.
    """

    def __init__(self, rules: Callable[[str], Rules], retake: Callable[[str, bytes], Awaitable[Trial | None]]) -> None:
        self.bell = Bell()
        self.inherited: dict[Key, int] = {}  # until their try has ended, with the tries that Redis had counted
        self._rules, self._retake = rules, retake
        self._parked: list[tuple[float, str, bytes]] = []
        self._due: defaultdict[Rules, deque[Key]] = defaultdict(deque)
        self._suspects: deque[Key] = deque()
        self._under_way: Counter[Rules] = Counter()
        self._alone: Key | None = None

    def park(self, topic: str, entry: bytes, delay: float) -> None:
        """Try a message again ``delay`` seconds from now."""
        heapq.heappush(self._parked, (_now() + delay, topic, entry))
        self.bell.ring()

    def inherit(self, topic: str, held: Held) -> None:
        """Try a message again that a life held when it ended, and that was not parked."""
        key, rules = (topic, held.entry), self._rules(topic)
        if key in self.inherited:
            return
        self.inherited[key] = held.tries
        if held.tries > 1 or not rules.retries:
            self._suspects.append(key)
        else:
            self._due[rules].append(key)
        self.bell.ring()

    def ended(self, trial: Trial) -> None:
        """A try has ended, however, or waits for another one, which has to be free to begin. Nothing if it is new."""
        if not trial.again:
            return
        trial.again = False
        key = (trial.topic, trial.entry)
        self._under_way[self._rules(trial.topic)] -= 1
        self.inherited.pop(key, None)
        if key == self._alone:
            self._alone = None
        self.bell.ring()

    def clear(self) -> None:
        """Try nothing again any more."""
        self.inherited.clear()
        self._suspects.clear()
        self._due.clear()
        self._parked.clear()

    async def run(self) -> float:
        """Begin what may begin."""
        while self._parked and self._parked[0][0] <= _now():
            _, topic, entry = heapq.heappop(self._parked)
            self._due[self._rules(topic)].append((topic, entry))
        while self._suspects and not self._under_way.total():
            self._alone = self._suspects[0]
            await self._begin(self._suspects)
        for rules, due in list(self._due.items()):
            while due and not self._suspects and self._alone is None and self._under_way[rules] < rules.at_once:
                await self._begin(due)
            if not due:
                self._due.pop(rules, None)  # all may have been cleared meanwhile
        return max(0.0, self._parked[0][0] - _now()) if self._parked else LONG

    async def _begin(self, queue: deque[Key]) -> None:
        """Begin with the first; it stays where it is when Redis does not do its part."""
        topic, entry = queue[0]
        trial = await self._retake(topic, entry)
        if queue:  # or all was cleared meanwhile
            queue.popleft()
        if trial is None:
            self.inherited.pop((topic, entry), None)
            self._alone = None
        else:
            self._under_way[self._rules(topic)] += 1


def _now() -> float:
    return asyncio.get_running_loop().time()
