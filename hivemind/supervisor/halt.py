"""Stopping everything, in order: root and nodes side by side, then Redis, then supervisord, then what was missed.

1. Say that a stop is asked for, so that nobody revives anything, and let a frozen Redis go on.
2. Stop root and nodes; each has its STOP_TIMEOUT.
3. Stop the embedded Redis, which writes its data; one that does not answer gets DEAF_REDIS.
4. Let supervisord end; one that does not answer is killed.
5. Let one end, with all that it runs, of which no file tells; read the pidfiles once more and end what still lives.
6. End what programs forked and left behind when they died.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ..bus.embedded import PING_TIMEOUT, Embedded
from ..errors import SupervisorError
from ..identity import PidFile, ProcessIdentity
from .client import STARTED
from .engine import Engine
from .keeper import end_left_behind, group, kill, kill_group
from .plan import Plan, load
from .processes import REDIS
from .render import LISTENER
from .stood import FILE as STOOD
from .stopping import never, patience, stop
from .strays import end_strays

PROBE = 3.0  # seconds within which a supervisord that is not frozen answers
END_TIMEOUT = 10.0  # seconds for supervisord to end when nothing runs under it any more, and for what was killed
DEAF_REDIS = 2.0  # seconds that a Redis without an answer gets: what it has answered is on disk
ORPHANS_END = 2.0  # seconds for the kernel to end what was killed
POLL = 0.02


def halt(engine: Engine, hurry: Callable[[], bool] = never) -> list[str]:
    """Stop everything of this hive on this machine; return the names of programs that had to be killed.

    It may be called when nothing runs. ``hurry`` is asked now and then: True kills what still lives.
    """
    engine.paths.make()
    engine.paths.stopping.touch()
    supervisord = engine.supervisord()
    _thaw_redis(engine)
    if supervisord is not None:
        if _answers(engine):
            _stop_programs(engine, hurry)
            _end_supervisord(engine, supervisord)
        else:
            kill(supervisord, signal.SIGKILL)
            gone([supervisord], END_TIMEOUT)
    end_strays(engine, hurry)
    killed = end_survivors(engine, hurry)
    end_orphans(engine)
    for identity in (engine.paths.supervisord, engine.paths.listener):
        identity.unlink(missing_ok=True)
    _remove_sockets(engine)
    return killed


def _remove_sockets(engine: Engine) -> None:
    """What was killed left its socket; a folder that held nothing but sockets, outside ``var``, goes too."""
    if not survivors(engine) and _redis(engine) is None and not _redis_answers(engine):
        for socket in (engine.paths.socket, Embedded.of(engine.settings).socket):
            socket.unlink(missing_ok=True)
        if engine.paths.runtime != engine.paths.var:
            with suppress(OSError):  # something else lies there
                engine.paths.runtime.rmdir()


def _answers(engine: Engine) -> bool:
    """Whether supervisord is of any use; a frozen one is killed, and what ran under it is ended by the pidfiles."""
    try:
        return engine.client(PROBE).pid() > 0
    except SupervisorError:
        return False


def _stop_programs(engine: Engine, hurry: Callable[[], bool]) -> None:
    client, plan = engine.client(), load(engine.paths)
    try:
        live = [info.name for info in client.programs() if info.state in STARTED and info.name != LISTENER]
        others = [name for name in live if name != REDIS]
        if hurry():
            return
        stop(client, others, patience([each for each in plan.programs if each.name != REDIS]), hurry)
        if REDIS in live and not hurry() and stop(client, [REDIS], _redis_patience(engine, plan), hurry):
            _kill_redis(engine)
            stop(client, [REDIS], END_TIMEOUT, hurry)
    except SupervisorError:
        return  # it is frozen, or ends already: the pidfiles tell what is left to do


def _redis(engine: Engine) -> ProcessIdentity | None:
    return Embedded.of(engine.settings).pidfile.living()


def _redis_answers(engine: Engine) -> bool:
    """Whether it takes commands now: an endless script in it lets it say only that it is busy."""
    return Embedded.of(engine.settings).ask("PING", timeout=PING_TIMEOUT) == "+PONG"


def _thaw_redis(engine: Engine) -> None:
    """A Redis that was stopped by a signal would keep every node waiting for it until its STOP_TIMEOUT."""
    identity = _redis(engine)
    if identity is not None and not _redis_answers(engine):
        kill(identity, signal.SIGCONT)


def _redis_patience(engine: Engine, plan: Plan) -> float:
    return patience(plan.programs) if _redis_answers(engine) else DEAF_REDIS


def _kill_redis(engine: Engine) -> None:
    identity = _redis(engine)
    if identity is not None:
        kill_group(identity)


def _end_supervisord(engine: Engine, identity: ProcessIdentity) -> None:
    try:
        engine.client(PROBE).shutdown()
    except SupervisorError:
        if not _answers(engine):
            kill(identity, signal.SIGKILL)
    if not gone([identity], END_TIMEOUT):
        kill(identity, signal.SIGKILL)
        gone([identity], END_TIMEOUT)


def end_survivors(engine: Engine, hurry: Callable[[], bool] = never) -> list[str]:
    """End every process that a pidfile names and that still lives, Redis last; return whom it took force to end."""
    plan, found = load(engine.paths), survivors(engine)
    others = {name: identity for name, identity in found.items() if name != REDIS}
    killed = _end(others, patience([each for each in plan.programs if each.name != REDIS]), hurry)
    if REDIS in found:
        killed += _end({REDIS: found[REDIS]}, _redis_patience(engine, plan), hurry)
    return killed


def end_orphans(engine: Engine) -> None:
    """Kill what programs forked and left behind, and forget programs that have ended: their pids may be used again, and
    how they ended counts no more.
    """
    files = pidfiles(engine, load(engine.paths))
    records = {path: record for path in files.values() if (record := PidFile(path).read()) is not None}
    ended = [record.identity.pid for record in records.values() if end_left_behind(record.identity)]
    deadline = time.monotonic() + ORPHANS_END
    while any(group(pid) for pid in ended) and time.monotonic() < deadline:
        time.sleep(POLL)
    for path, record in records.items():
        if not record.identity.is_alive():
            path.unlink(missing_ok=True)
    for known in (path for kind in ("*.lives", "*.hung", "*.code", STOOD) for path in engine.paths.run.glob(kind)):
        known.unlink(missing_ok=True)


def survivors(engine: Engine) -> dict[str, ProcessIdentity]:
    """The living processes that pidfiles name, by program."""
    files = pidfiles(engine, load(engine.paths))
    return {name: identity for name, path in files.items() if (identity := PidFile(path).living()) is not None}


def pidfiles(engine: Engine, plan: Plan) -> dict[str, Path]:
    """Every pidfile of a program, by program: those in ``run`` and those that a program keeps elsewhere."""
    paths = {path.stem: path for path in engine.paths.run.glob("*.pid") if path != engine.paths.foreground}
    return paths | {each.name: Path(each.pidfile) for each in plan.programs if each.pidfile}


def _end(found: dict[str, ProcessIdentity], timeout: float, hurry: Callable[[], bool]) -> list[str]:
    for identity in found.values():
        kill(identity, signal.SIGTERM)
    if gone(found.values(), timeout, hurry):
        return []
    killed = [name for name, identity in found.items() if kill_group(identity)]
    gone(found.values(), END_TIMEOUT)
    return killed


def gone(identities: Iterable[ProcessIdentity], timeout: float, hurry: Callable[[], bool] = never) -> bool:
    """Wait until none of them lives; False after ``timeout`` seconds or when there is no time for it."""
    left: Sequence[ProcessIdentity] = list(identities)
    deadline = time.monotonic() + timeout
    while left := [identity for identity in left if identity.is_alive()]:
        if time.monotonic() > deadline or hurry():
            return False
        time.sleep(POLL)
    return True
