"""The watchdog's judgement: which running programs hang. Pure: it is told what was seen and when.

A program is late when it has not beaten for half a lease, as Redis's clock tells; it hangs when its expiry then does
not move for another half, by our own clock, while Redis was well. Time in which Redis was away or refused, or in which
its clock was set, is not counted: then all leases start afresh.

What hangs again and again is let hang for longer each time before it is killed: a kill heals nothing there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..backoff import Backoff
from ..identity import ProcessIdentity

FIRST, LONGEST = 3.0, 60.0  # seconds from one kill to the next, at least
STEADY = 600.0  # seconds without a kill after which the back-off begins anew


@dataclass(frozen=True, slots=True)
class Late:
    """A process that has not beaten for half its ``lease``, which ends at ``expires``; negative: has ended."""

    process: ProcessIdentity
    lease: float
    expires: int

    def is_still(self, now: Late) -> bool:
        """Whether it has not moved since. That a lease has ended is no move."""
        return self.process == now.process and (now.expires == self.expires or now.expires < 0)


@dataclass(slots=True)
class _Kills:
    """The kills of one program: when the last was, and when the next may be."""

    backoff: Backoff
    last: float
    next: float


class Watchdog:
    """Fed with observations, it names the programs that hang. Times are seconds of any monotonic clock."""

    def __init__(self, rng: Callable[[], float] = random.random) -> None:
        self._rng = rng
        self._late: dict[str, tuple[Late, float]] = {}  # and from when on it hangs, if it does not move
        self._kills: dict[str, _Kills] = {}
        self._is_afresh = True

    @property
    def is_calm(self) -> bool:
        """Whether nobody was late."""
        return not self._late

    def away(self) -> None:
        """Redis is away, or refuses, or its clock was set: whatever was seen before proves nothing."""
        self._late.clear()
        self._is_afresh = True

    def killed(self, now: float, program: str) -> None:
        """Begin anew with a program that is killed: what comes next is another life, and has its back-off."""
        self._late.pop(program, None)
        kills = self._kills.get(program)
        if kills is None or now - kills.last > STEADY:
            kills = self._kills[program] = _Kills(Backoff(FIRST, LONGEST, floor=FIRST, rng=self._rng), now, now)
        kills.last, kills.next = now, now + kills.backoff.next()

    def spared(self, program: str) -> None:
        """Begin anew with a program that was to be killed, and moved at the last moment."""
        self._late.pop(program, None)

    def observe(self, now: float, late: Mapping[str, Late]) -> list[tuple[str, ProcessIdentity]]:
        """Take in which programs are late; return those to kill, with their processes."""
        for name in self._late.keys() - late.keys():
            del self._late[name]
        for name, one in late.items():
            before = self._late.get(name)
            if before is None or not before[0].is_still(one):
                # Who moved and is late all the same: a clock was set. Whose lease is gone: Redis lost its data.
                is_fresh = self._is_afresh or before is not None or one.expires < 0
                self._late[name] = one, now + (one.lease if is_fresh else one.lease / 2)
        self._is_afresh = False
        hung = [(name, one.process) for name, (one, until) in self._late.items() if now > until]
        return [(name, process) for name, process in hung if name not in self._kills or now >= self._kills[name].next]
