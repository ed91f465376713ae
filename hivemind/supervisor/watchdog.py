"""The watchdog's judgement: which running programs hang. Pure: it is told what was seen and when.

A program hangs when its instance's expiry has not moved for a lease, by our own clock, while Redis was well. What
Redis says of time is not believed (set forward, its clock ends every lease at once), and time in which it was away
or refused is not counted: then all leases start afresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..data.records import Instance
from ..identity import ProcessIdentity


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

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def away(self) -> None:
        """Redis is away, or refuses: whatever was seen before proves nothing."""
        self._watched.clear()

    def forget(self, program: str) -> None:
        """Begin anew with a program that was just killed: what comes next is another life."""
        self._watched.pop(program, None)

    def observe(
        self, now: float, running: Mapping[str, ProcessIdentity], instances: Sequence[Instance]
    ) -> list[tuple[str, ProcessIdentity]]:
        """Take in what runs and what the registry says; return the programs that hang, with their processes."""
        for name in self._watched.keys() - running.keys():
            del self._watched[name]
        for name, process in running.items():
            self._look(now, name, process, instances)
        return [
            (name, watched.process) for name, watched in self._watched.items() if now - watched.moved > watched.lease
        ]

    def _look(self, now: float, name: str, process: ProcessIdentity, instances: Sequence[Instance]) -> None:
        before = self._watched.get(name)
        if before is not None and before.process != process:
            del self._watched[name]
            before = None
        found = of_process(instances, process)
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
