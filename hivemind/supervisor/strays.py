"""A supervisord of this hive that no file names: somebody removed ``var``, or ``var/run``, while the hive ran.

What ran runs on, but nobody who looks into the files knows of it; a start would put a second hive beside it. It is
known by its command line, in which the configuration of this very hive is named.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import SupervisorError
from ..identity import ProcessIdentity
from ..process_table import command_of, parent_of, pids
from .engine import Engine
from .keeper import kill, kill_group
from .topology import stop_wait

MODULE = "hivemind.supervisor.supervisord"
SURE = 0.5  # seconds after which one looks again: what supervisord forks is a copy of it for a moment
MOST = 12  # pids that are named
OTHERS_END = 10.0  # seconds for Redis and supervisord
POLL = 0.05


def strays(engine: Engine) -> list[ProcessIdentity]:
    """Every supervisord of this hive that lives, but for the one that hived knows of."""
    found = _supervisords(engine)
    if found:
        time.sleep(SURE)
        found = [each for each in found if each in _supervisords(engine)]
    return found


def _supervisords(engine: Engine) -> list[ProcessIdentity]:
    known, found = engine.supervisord(), []
    for pid in pids():
        words = command_of(pid)
        if MODULE in words and str(engine.paths.conf) in words and _sees_us(pid):
            identity = ProcessIdentity.of(pid)
            if identity is not None and identity != known:
                found.append(identity)
    return found


def _sees_us(pid: int) -> bool:
    """Whether it is not of a container, in which paths mean something else."""
    mine, its = Path("/proc/self/ns/pid"), Path(f"/proc/{pid}/ns/pid")
    try:
        return not mine.exists() or mine.readlink() == its.readlink()
    except OSError:
        return False


def below(supervisord: ProcessIdentity) -> list[ProcessIdentity]:
    """What it runs."""
    children = [pid for pid in pids() if parent_of(pid) == supervisord.pid]
    return [found for pid in children if (found := ProcessIdentity.of(pid)) is not None]


def refuse(engine: Engine) -> None:
    """Raise SupervisorError if this hive runs already although no file says so."""
    if found := strays(engine):
        raise SupervisorError(in_words(engine, found))


def in_words(engine: Engine, found: Sequence[ProcessIdentity]) -> str:
    """Who they are, and what to do."""
    numbers = [str(each.pid) for one in found for each in (one, *below(one))]
    more = [f"{len(numbers) - MOST} more"] if len(numbers) > MOST else []
    who = ", ".join([*numbers[:MOST], *more])
    return (
        f"this hive runs already, but {engine.paths.run}, which says so, was removed under it: process{_es(numbers)} "
        f"{who}; `hived stop` ends all of it, then `hived start` starts it anew"
    )


def _is_ours(process: ProcessIdentity) -> bool:
    return any(word.startswith("hivemind.") for word in command_of(process.pid))


def _es(numbers: Sequence[str]) -> str:
    return "es" if len(numbers) > 1 else ""


def end_strays(engine: Engine, hurry: Callable[[], bool]) -> bool:
    """Let each end what it runs, Redis last, and itself; what takes too long is killed. False if there are none."""
    found = strays(engine)
    programs = [each for one in found for each in below(one)]
    for one in (*found, *(each for each in programs if _is_ours(each))):  # side by side: it would take its time
        kill(one, signal.SIGTERM)
    deadline = time.monotonic() + stop_wait(engine.settings.constants.STOP_TIMEOUT) + OTHERS_END
    while any(one.is_alive() for one in found) and time.monotonic() < deadline and not hurry():
        time.sleep(POLL)
    for one in found:
        kill(one, signal.SIGKILL)
    for each in programs:
        kill_group(each)
    return bool(found)
