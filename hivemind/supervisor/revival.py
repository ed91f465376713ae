"""When to start again what supervisord gave up: capped back-off, for ever. Pure: it is told what happened and when.

It gives up only what it cannot even start, for want of processes or descriptors: what starts and ends again waits in
its keeper (lives.py), and supervisord knows nothing of that.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ..backoff import Backoff
from .client import ProgramInfo, ProgramState
from .lives import STEADY
from .topology import Program

FIRST, LONGEST = 0.5, 60.0  # seconds


@dataclass(slots=True)
class _Ward:
    """A program that failed: how often, when it is due, and since when its process has been up."""

    backoff: Backoff
    revivals: int = 0
    due: float | None = None
    pid: int = 0
    up_since: float = 0.0


@dataclass(slots=True)
class Revival:
    """Keeps, for each program that failed, when it is due again. Times are seconds of any one clock."""

    rng: Callable[[], float] = random.random
    _wards: dict[str, _Ward] = field(default_factory=dict)

    def observe(self, now: float, program: Program, info: ProgramInfo) -> None:
        """Take in what supervisord says of ``program``, which should run."""
        ward = self._wards.get(program.name)
        if should_revive(program, info):
            ward = self._wards.setdefault(program.name, _Ward(self._backoff()))
            if ward.due is None:
                ward.due = now + ward.backoff.next()
        elif ward is not None:
            ward.due = None
            self._look_at_life(now, ward, info)

    def _look_at_life(self, now: float, ward: _Ward, info: ProgramInfo) -> None:
        if info.state is not ProgramState.RUNNING or info.pid != ward.pid:
            ward.pid, ward.up_since = info.pid, now
        elif now - ward.up_since >= STEADY:
            ward.backoff.reset()

    def restarted(self, name: str) -> None:
        """``name`` ended by itself, and supervisord starts it again: that counts, too."""
        self._wards.setdefault(name, _Ward(self._backoff())).revivals += 1

    def due(self, now: float) -> list[str]:
        """The programs to start now; each counts as one revival."""
        names = [name for name, ward in self._wards.items() if ward.due is not None and ward.due <= now]
        for name in names:
            self._wards[name].due = None
            self._wards[name].revivals += 1
        return names

    def _backoff(self) -> Backoff:
        return Backoff(FIRST, LONGEST, floor=FIRST, rng=self.rng)

    def next_due(self) -> float | None:
        """When the next program is due, or None."""
        return min((ward.due for ward in self._wards.values() if ward.due is not None), default=None)

    def counts(self) -> dict[str, int]:
        """How often each program was revived."""
        return {name: ward.revivals for name, ward in self._wards.items()}

    def keep(self, names: frozenset[str]) -> None:
        """Forget all programs but these."""
        for name in self._wards.keys() - names:
            del self._wards[name]


def should_revive(program: Program, info: ProgramInfo) -> bool:
    """Whether supervisord has given up ``program`` although it should run."""
    return program.restart != "never" and info.state is ProgramState.FATAL


def counts_as_restart(program: Program, *, is_expected: bool) -> bool:
    """Whether supervisord starts ``program`` again by itself, now that it has ended; expected is an exit with 0."""
    return program.restart == "always" or (program.restart == "on-failure" and not is_expected)
