"""hived start, stop and reload: what the command line calls. Each holds the hive's lock, so that one of two wins."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..bus.embedded import Embedded
from ..errors import ConfigurationError, SupervisorError
from ..last_settings import save_settings
from .apply import Applied, apply
from .desired import write_selection
from .engine import Engine
from .halt import halt, survivors
from .launch import launch
from .layout import bring_up_to_date
from .narrow import with_code_of
from .plan import Plan, load
from .releases import Release, draft, last_good, restore
from .secure import before_start
from .standing import end_stopped, refuse_stopped
from .stopping import never
from .strays import refuse, strays
from .successor import left_over, settle
from .topology import Selection
from .writing import write

REDIS_TIMEOUT = 5.0  # seconds
PING = 1.0  # seconds for one try
POLL = 0.05


@dataclass(frozen=True, slots=True)
class Started:
    """The outcome of a start: ``process`` is the supervisord that was started, None if the hive ran already."""

    process: subprocess.Popen[bytes] | None
    plan: Plan
    adopted: tuple[str, ...] = ()  # programs that had outlived their supervisord
    killed: tuple[str, ...] = ()  # of hived and supervisord, who stood still


def start(engine: Engine, selection: Selection | None = None) -> Started:
    """Start the hive's programs, or find them running; a hived or supervisord that was stopped by a signal is replaced.

    ``selection`` is what to run, None what was chosen when it last ran (a revival). Raises ConfigurationError,
    before anything was started (LayoutMismatch, too, where Redis answers), and SupervisorError if supervisord cannot
    be started, or if one of this hive runs of which its files say nothing.
    """
    killed = tuple(f"{who} (process {one.pid})" for who, one in end_stopped(engine).items())  # it may have the lock
    with engine.lock():
        if engine.is_running() and not engine.paths.stopping.exists():
            return Started(None, load(engine.paths), killed=killed)
        if engine.supervisord() is not None:
            halt(engine)  # somebody began a stop and did not finish it
        refuse(engine)
        bring_up_to_date(engine)
        if selection is not None:
            write_selection(engine.paths, selection)
        for name in left_over(engine.paths):
            settle(engine.paths, name)
        adopted = tuple(sorted(survivors(engine)))
        plan = with_code_of(load(engine.paths), engine.plan(), adopted)
        before_start(engine)
        write(engine, plan)
        save_settings(engine.settings)
        draft(engine.paths)
        engine.paths.stopping.unlink(missing_ok=True)
        return Started(launch(engine), plan, adopted, killed)


def wait_for_redis(engine: Engine, hurry: Callable[[], bool] = never) -> bool:
    """Return when the hive's own Redis answers; False after REDIS_TIMEOUT seconds or when ``hurry`` says so.

    A Redis that the settings name is not waited for.
    """
    deadline = time.monotonic() + REDIS_TIMEOUT
    while not engine.settings.redis_url and Embedded.of(engine.settings).ask("PING", timeout=PING) != "+PONG":
        if time.monotonic() > deadline or hurry():
            return False
        time.sleep(POLL)
    return True


def check_own_redis(engine: Engine) -> None:
    """Look at the layout of a Redis that was just started, and stop the hive again if it is not to be touched.

    Raises what ``bring_up_to_date`` raises.
    """
    try:
        bring_up_to_date(engine)
    except ConfigurationError:
        stop(engine)
        raise


def stop(engine: Engine, hurry: Callable[[], bool] = never) -> bool:
    """Stop the hive and return when all has ended; False if nothing ran."""
    with engine.lock():
        ran = engine.supervisord() is not None or bool(survivors(engine)) or bool(strays(engine))
        halt(engine, hurry)
        return ran


def reload(engine: Engine, *, in_turn: bool = True) -> Applied:
    """Apply a changed configuration to what changed only; ``in_turn``: to one instance after the other. Raises
    SupervisorError if the hive does not run, or its supervisord is stopped by a signal.
    """
    refuse_stopped(engine)
    with engine.lock():
        if not engine.is_running():
            raise SupervisorError("hived does not run here: `hived start` starts it")
        return apply(engine, in_turn=in_turn)


def go_back(engine: Engine) -> tuple[Release, list[str], Path | None] | None:
    """Write the files of the last release back that differs from what they are; nothing is applied. Say which files,
    and in which folder those are that this took away, if it did.

    None if there is no such release. Raises SupervisorError if a file cannot be written.
    """
    with engine.lock():
        found = last_good(engine.paths)
        return None if found is None else (found, *restore(engine.paths, found))
