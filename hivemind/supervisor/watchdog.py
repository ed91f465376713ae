"""The watchdog's judgement: which running programs hang. Pure: it is told what was seen and when.

A program hangs when its instance's expiry has not moved for a lease, by our own clock, while Redis was well. What
Redis says of time is not believed (set forward, its clock ends every lease at once), and time in which it was away
or refused is not counted: then all leases start afresh.

What hangs again and again is let hang for longer each time before it is killed: a kill heals nothing there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..backoff import Backoff
from ..data.records import Instance
from ..identity import ProcessIdentity

FIRST, LONGEST = 3.0, 60.0  # seconds from one kill to the next, at least
STEADY = 600.0  # seconds without a kill after which the back-off begins anew


@dataclass(slots=True)
class _Kills:
    """The kills of one program: when the last was, and when the next may be."""

    backoff: Backoff
    last: float
    next: float


@dataclass(slots=True)
class _Watched:
    """What is remembered of one program: who it is, and when its expiry last moved."""

    process: ProcessIdentity
    instance: str
    lease: float
    expires: float | None
    moved: float


class Watchdog:
    """Fed with observations, it names the programs that hang. Times are seconds of any monotonic clock."""

    def __init__(self, rng: Callable[[], float] = random.random) -> None:
        self._rng = rng
        self._watched: dict[str, _Watched] = {}
        self._kills: dict[str, _Kills] = {}

    def away(self) -> None:
        """Redis is away, or refuses: whatever was seen before proves nothing."""
        self._watched.clear()

    def killed(self, now: float, program: str) -> None:
        """Begin anew with a program that is killed: what comes next is another life, and has its back-off."""
        self._watched.pop(program, None)
        kills = self._kills.get(program)
        if kills is None or now - kills.last > STEADY:
            kills = self._kills[program] = _Kills(Backoff(FIRST, LONGEST, floor=FIRST, rng=self._rng), now, now)
        kills.last, kills.next = now, now + kills.backoff.next()

    def observe(
        self, now: float, running: Mapping[str, ProcessIdentity], instances: Sequence[Instance]
    ) -> list[tuple[str, ProcessIdentity]]:
        """Take in what runs and what the registry says; return the programs to kill, with their processes."""
        for name in self._watched.keys() - running.keys():
            del self._watched[name]
        found = {one.about.process: one for one in instances if not one.is_lost and one.about.process is not None}
        for name, process in running.items():
            self._look(now, name, process, found.get(process))
        hung = [(name, each.process) for name, each in self._watched.items() if now - each.moved > each.lease]
        return [(name, process) for name, process in hung if name not in self._kills or now >= self._kills[name].next]

    def _look(self, now: float, name: str, process: ProcessIdentity, found: Instance | None) -> None:
        before = self._watched.get(name)
        if before is not None and before.process != process:
            del self._watched[name]
            before = None
        if found is None:
            return  # not registered yet, standby, or its lease has ended: then it has not moved
        if not found.about.watched:
            self._watched.pop(name, None)
        elif before is None or before.expires != found.expires:
            self._watched[name] = _Watched(process, found.instance, found.about.lease, found.expires, now)


def of_process(instances: Iterable[Instance], process: ProcessIdentity) -> Instance | None:
    """The living instance that this very process registered."""
    for instance in instances:
        if not instance.is_lost and instance.about.process == process:
            return instance
    return None
