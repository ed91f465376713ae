"""Stopping programs of supervisord side by side, within the time that they have for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .client import LIVE, ProgramInfo, SupervisorClient
from .topology import Program, stop_wait

POLL = 0.05  # seconds between two looks


def never() -> bool:
    """There is time."""
    return False


def stop(
    client: SupervisorClient, names: Sequence[str], timeout: float, hurry: Callable[[], bool] = never
) -> list[ProgramInfo]:
    """Stop programs side by side; return those that still live after ``timeout`` seconds, or when ``hurry`` says so."""
    for name in names:
        client.stop(name)
    wanted, deadline = frozenset(names), time.monotonic() + timeout
    while wanted:
        live = [info for info in client.programs() if info.name in wanted and info.state in LIVE]
        if not live or time.monotonic() > deadline or hurry():
            return live
        time.sleep(POLL)
    return []


def patience(programs: Sequence[Program]) -> float:
    """Seconds after which supervisord has ended each of ``programs``, by force if need be."""
    return max((stop_wait(program.stop_timeout) for program in programs), default=0) + 3.0
