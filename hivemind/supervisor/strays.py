"""What runs of this hive although no file names it: somebody removed ``var``, or ``var/run``, while the hive ran.

What ran runs on, but nobody who looks into the files knows of it; a start would put a second hive beside it. Found are

- a supervisord, which is in the ``var`` of this very hive, with all that it runs;
- the programs of one that has ended: what they are their command line tells, whose they are the folder that they are in
  and the variable that each inherits, and that hived began them their session: that supervisord's, or, of one that
  took over in a roll, one of its own. Nothing that was begun by hand is like that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ..bus.embedded import Embedded
from ..errors import SupervisorError
from ..identity import PidFile, ProcessIdentity
from ..process_table import command_of, environment_of, folder_of, parent_of, pids
from ..settings import HIVE
from .engine import Engine
from .keeper import end_left_behind, kill, kill_group
from .topology import stop_wait

MODULE = "hivemind.supervisor.supervisord"
PROGRAMS = ("hivemind.node", "hivemind.root", "hivemind.bus.embedded")  # hived and keepers end by themselves
SURE = 0.5  # seconds after which one looks again: what supervisord forks is a copy of it for a moment
MOST = 12  # pids that are named
OTHERS_END = 10.0  # seconds for Redis and supervisord
POLL = 0.05


def strays(engine: Engine) -> list[ProcessIdentity]:
    """Every supervisord of this hive that lives, but for the one that hived knows of, and every program that no
    supervisord and no file knows of.
    """
    found = _look(engine)
    if found:
        time.sleep(SURE)
        again = _look(engine)
        found = [each for each in found if each in again]
    return found


def _look(engine: Engine) -> list[ProcessIdentity]:
    found = []
    for pid in pids():
        words = command_of(pid)
        is_stray = _is_supervisord(engine, pid, words) or _is_orphan(engine, pid, words)
        if is_stray and _sees_us(pid) and (identity := ProcessIdentity.of(pid)) is not None:
            found.append(identity)
    known = _known(engine) if found else []  # read last: who is found has written down who it is before
    return [each for each in found if each not in known]


def _known(engine: Engine) -> list[ProcessIdentity | None]:
    files = [PidFile(path).living() for path in engine.paths.run.glob("*.pid")]
    return [engine.supervisord(), Embedded.of(engine.settings).pidfile.living(), *files]


def _is_supervisord(engine: Engine, pid: int, words: Sequence[str]) -> bool:
    """Whether it is a supervisord of this hive, by whatever path that was named: where it is tells."""
    if MODULE not in words:
        return False
    folder, conf = folder_of(pid), engine.paths.conf.resolve()
    if folder is not None and folder.is_absolute():  # else a system that cannot tell it of one that was removed
        return folder == engine.paths.var.resolve()
    return any(Path(word).resolve() == conf for word in words if word.endswith(conf.name))


def _is_orphan(engine: Engine, pid: int, words: Sequence[str]) -> bool:
    """Whether it is a program of this hive whose supervisord has ended."""
    if words[1:2] == ["-m"] and "".join(words[2:3]) in PROGRAMS:
        return _was_begun_by_hived(pid, words) and _is_of(engine, pid)
    is_redis = any("unixsocket:" in word or word.endswith("redis.conf") for word in words)
    folder = Embedded.of(engine.settings).folder
    return is_redis and _was_begun_by_hived(pid, words) and folder_of(pid) == folder.resolve()


def _was_begun_by_hived(pid: int, words: Collection[str]) -> bool:
    try:
        session, group = os.getsid(pid), os.getpgid(pid)
    except OSError:
        return False
    if group != pid or session <= 0:  # forked by a program; or from outside of our container
        return False
    return "--successor" in words if session == pid else ProcessIdentity.of(session) is None


def _is_of(engine: Engine, pid: int) -> bool:
    """A link that led to this hive may lead to another now: who is in another hive's folder is not ours."""
    named, folder, hive = (environment_of(pid) or {}).get(HIVE), folder_of(pid), engine.paths.hive.resolve()
    if not named or folder == hive:
        return bool(named)
    return Path(named).resolve() == hive and not (folder is not None and (folder / "config/hive.py").exists())


def _sees_us(pid: int) -> bool:
    """Whether it is not of a container, in which paths mean something else."""
    mine, its = Path("/proc/self/ns/pid"), Path(f"/proc/{pid}/ns/pid")
    try:
        return not mine.exists() or mine.readlink() == its.readlink()
    except OSError:
        return False


def below(supervisord: ProcessIdentity) -> list[ProcessIdentity]:
    """What it runs; nothing if it is a program."""
    if MODULE not in command_of(supervisord.pid):
        return []
    children = [pid for pid in pids() if parent_of(pid) == supervisord.pid]
    return [found for pid in children if (found := ProcessIdentity.of(pid)) is not None]


def refuse(engine: Engine) -> None:
    """Raise SupervisorError if this hive runs already although no file says so."""
    if found := strays(engine):
        raise SupervisorError(in_words(engine, with_below(found)))


def with_below(found: Sequence[ProcessIdentity]) -> tuple[int, ...]:
    """Their pids, and those of what they run."""
    return tuple(each.pid for one in found for each in (one, *below(one)))


def in_words(engine: Engine, found: Sequence[int]) -> str:
    """Who they are, by pid, and what to do."""
    numbers = [str(each) for each in found]
    more = [f"{len(numbers) - MOST} more"] if len(numbers) > MOST else []
    who = ", ".join([*numbers[:MOST], *more])
    is_gone = not engine.settings.redis_url and not Embedded.of(engine.settings).folder.exists()
    data = ", without the data of its own Redis, which was removed, too" if is_gone else ""
    return (
        f"this hive runs already, but {engine.paths.run}, which says so, was removed under it: process{_es(numbers)} "
        f"{who}; `hived stop` ends all of it, then `hived start` starts it anew{data}"
    )


def removed_under(engine: Engine) -> str:
    """``in_words`` of a hive that runs although no file says so; "" of any other."""
    found = strays(engine) if engine.supervisord() is None else []
    return in_words(engine, with_below(found)) if found else ""


def _is_ours(process: ProcessIdentity) -> bool:
    return any(word.startswith("hivemind.") for word in command_of(process.pid))


def _es(numbers: Sequence[str]) -> str:
    return "es" if len(numbers) > 1 else ""


def end_strays(engine: Engine, hurry: Callable[[], bool]) -> bool:
    """Let each end what it runs, Redis last, and itself; what takes too long is killed. False if there are none."""
    found = strays(engine)
    programs = [each for one in found for each in below(one)]
    first = [one for one in found if _is_ours(one)]
    last = [one for one in found if one not in first]  # Redis, and no supervisord to end it
    for one in (*first, *(each for each in programs if _is_ours(each))):  # side by side: it would take its time
        kill(one, signal.SIGTERM)
    _wait(first, stop_wait(engine.settings.constants.STOP_TIMEOUT) + OTHERS_END, hurry)
    for one in last:
        kill(one, signal.SIGTERM)
    _wait(last, OTHERS_END, hurry)
    for each in (*found, *programs):
        if not kill_group(each):
            end_left_behind(each)
    return bool(found)


def _wait(processes: Sequence[ProcessIdentity], seconds: float, hurry: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while any(one.is_alive() for one in processes) and time.monotonic() < deadline and not hurry():
        time.sleep(POLL)
