"""`hm why hived`: what is known of the daemon of this machine, and of supervisord, under which it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..english import are, duration, listed
from ..identity import PidFile, ProcessIdentity
from ..process_table import age
from ..supervisor.engine import engine_for
from ..supervisor.processes import REDIS
from ..supervisor.status import HiveStatus, status
from ..supervisor.strays import in_words

if TYPE_CHECKING:
    from pathlib import Path

    from ..settings import Settings
    from .why_words import Sentence

HIVED = "hived"
WELL = ("running", "stopped", "standby", "starting", "waiting")  #: states that are no fault of anybody


def sentences(settings: Settings) -> list[Sentence]:
    """Its sentences, the state first, each without its full stop and with its colour."""
    engine = engine_for(settings)
    seen = status(engine)
    hived, supervisord = PidFile(engine.paths.listener).living(), engine.supervisord()
    if seen.strays:
        return [(in_words(engine, seen.strays), "red")]
    found = [*_processes(seen, hived, supervisord)]
    found += [(f"{what}; all goes on", "yellow") for what in (seen.stood, seen.undone) if what]
    if seen.redis_away:
        found.append((f"Redis does not answer it: {seen.redis_away}", "red"))
    elif seen.running and not seen.standing:
        found += _programs(seen)
    return found


def of_redis(settings: Settings) -> list[Sentence] | None:
    """The same of the Redis that is the hive's own; None where it has none, or was never started."""
    seen = status(engine_for(settings))
    one = next((each for each in seen.programs if each.name == REDIS), None)
    if one is None:
        return None
    if not seen.running:
        return [(seen.absent, "red")]
    up = f" for {duration(one.uptime)}" if one.uptime is not None else ""
    found = [(f"The hive's own Redis: hived says {one.state}{up}{f' (process {one.pid})' if one.pid else ''}", "")]
    if seen.redis_away:
        found.append((f"{seen.redis_away[0].upper()}{seen.redis_away[1:].rstrip('.')}", "red"))
    elif one.state not in WELL:
        found.append((f"It is not well: {one.detail or one.state}", "red"))
    if one.last_end and one.ended is not None:
        found.append((f"{duration(max(0.0, time.time() - one.ended))} ago the life before {one.last_end}", ""))
    return found


def logs_of(settings: Settings) -> dict[str, Path]:
    """The files in which hived, and supervisord, say what they do."""
    paths = engine_for(settings).paths
    return {HIVED: settings.log_file(HIVED), "supervisord": paths.supervisord_log}


def _processes(
    seen: HiveStatus, hived: ProcessIdentity | None, supervisord: ProcessIdentity | None
) -> Iterator[Sentence]:
    if seen.standing:
        yield seen.standing, "red"
    elif hived is not None and supervisord is not None:
        yield f"hived runs: {_since(hived)}, under supervisord, {_since(supervisord)}", ""
    elif supervisord is not None:
        yield f"hived does not run at this moment: supervisord, {_since(supervisord)}, starts it anew", "yellow"
    elif hived is not None:
        yield f"supervisord is gone: hived, {_since(hived)}, starts a new one, which adopts what runs", "yellow"
    else:
        yield seen.absent, "red"


def _programs(seen: HiveStatus) -> Iterator[Sentence]:
    if seen.silent:
        yield f"How its programs are is not known: {seen.silent}", "red"
        return
    names = [one.name for one in seen.programs if one.pid is not None]
    yield f"It keeps {listed(names)} alive" if names else "Nothing runs under it", ""
    for state in dict.fromkeys(one.state for one in seen.programs if one.state not in WELL):
        some = [one.name for one in seen.programs if one.state == state]
        node = some[0].partition(".")[0]
        yield f"{listed(some)} {are(some)} {state}: `hm why {node}` says why", "red"


def _since(process: ProcessIdentity) -> str:
    lived = age(process.pid)
    return f"process {process.pid}" + ("" if lived is None else f", for {duration(lived)}")
