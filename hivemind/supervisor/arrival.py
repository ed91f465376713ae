"""Whether what was started is there: a node, or the root, when it is registered as running, that is, consuming.

For supervisord a program runs as soon as its process is two seconds old: on a busy machine that is before its imports
are done. Redis has no better sign.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.records import Instance, of_process
from ..identity import PidFile
from ..states import NodeState
from .client import FAILING, LIVE, ProgramInfo, ProgramState
from .engine import Engine
from .plan import load
from .status import registered, waits_in_words, why_not
from .topology import Program

ARRIVAL = 20.0  # seconds within which a program that was started shows whether it stays up
LOOK, LONGEST = 0.1, 1.0  # seconds between two looks, at few programs and at hundreds
SHARE = 5  # a look is paid with so many times its length of rest: what starts needs the machine
SILENCE = 5.0  # seconds without an answer of the registry after which supervisord's word has to do
STAY = 1.5  # seconds for which what is there is looked at further, where somebody asked for it
CALM = 2.0  # seconds without any news after which it is not waited for those who wait for others


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a program that was started: it ``is_there``, or it ``has_ended`` by itself, or it still starts."""

    program: Program
    info: ProgramInfo
    is_there: bool = False
    has_ended: bool = False
    why: str = ""  # why it has ended
    waits_for: str = ""  # what it needs that is not there

    @property
    def is_well(self) -> bool:
        """Whether nothing is known to be wrong: it may have ended with 0, if it is not to run for ever."""
        return not self.has_ended or (self.program.restart != "always" and self.info.exit_status == 0)

    def told(self, what: str) -> str:
        """``what`` was done to it, such as "started", and what came of it."""
        if self.is_there:
            return what
        if self.waits_for and not self.has_ended:
            return f"{what}, and waits for {self.waits_for}"
        if not self.has_ended:
            return f"{what}, and does not consume yet"
        if self.program.restart == "always":
            return f"{what}, but it does not stay up: {self.why}"
        return f"{what}; it ended with {self.info.exit_status}"


def arrivals(engine: Engine, names: Iterable[str], limit: float = ARRIVAL) -> dict[str, Arrival]:
    """Wait until each of ``names`` is there or has ended, for ``limit`` seconds at most.

    Programs that supervisord does not know are not in the result. Raises SupervisorError.
    """
    plan, wanted, deadline = load(engine.paths), frozenset(names), time.monotonic() + limit
    programs = [each for each in plan.programs if each.name in wanted]
    if not programs:
        return {}
    first: dict[str, ProgramInfo] = {}
    found: dict[str, Arrival] = {}
    news, since = tuple[tuple[str, str], ...](), time.monotonic()
    known: Sequence[Instance] | None = ()
    heard = time.monotonic()
    while True:
        looked = time.monotonic()
        infos = {info.name: info for info in engine.client().programs()}
        if (answer := asyncio.run(registered(engine))) is not None:
            known, heard = answer, time.monotonic()
        elif time.monotonic() > heard + SILENCE:
            known = None
        for program in programs:
            info = infos.get(program.name)
            if info is not None and not (program.name in found and found[program.name].has_ended):
                began = first.setdefault(program.name, info) if info.state in LIVE else first.get(program.name, info)
                found[program.name] = _judged(engine, program, began, info, known)
        open_ = [each for each in found.values() if not (each.is_there or each.has_ended)]
        if (seen := tuple((each.program.name, each.waits_for) for each in open_)) != news:
            news, since = seen, time.monotonic()
        is_calm = all(each.waits_for for each in open_) and time.monotonic() > since + CALM
        if not open_ or is_calm or time.monotonic() > deadline:
            return found
        time.sleep(min(LONGEST, max(LOOK, SHARE * (time.monotonic() - looked))))


def lasting(engine: Engine, found: Mapping[str, Arrival], seconds: float = STAY) -> dict[str, Arrival]:
    """What becomes of those that ``arrivals`` has ``found`` there, within so many ``seconds``: who ends has ended.

    Raises SupervisorError.
    """
    now, deadline = dict(found), time.monotonic() + seconds
    while any(each.is_there for each in now.values()) and time.monotonic() < deadline:
        time.sleep(LOOK)
        infos = {info.name: info for info in engine.client().programs()}
        for name, each in now.items():
            info = infos.get(name)
            if each.is_there and info is not None and not _is_same(each.info, info):
                why = _why(engine, each.program, each.info, info)
                now[name] = Arrival(each.program, info, has_ended=True, why=why)
    return now


def _is_same(before: ProgramInfo, now: ProgramInfo) -> bool:
    """Whether it is the very same process that lives."""
    return now.state in LIVE and (now.pid, now.started) == (before.pid, before.started)


def _judged(
    engine: Engine, program: Program, began: ProgramInfo, info: ProgramInfo, instances: Sequence[Instance] | None
) -> Arrival:
    """What the program is now; ``began`` is how supervisord showed it when it first lived."""
    if info.state is ProgramState.STOPPED and began is info:
        return Arrival(program, info)  # supervisord starts it in a moment
    if not _is_same(began, info):
        return Arrival(program, info, has_ended=True, why=_why(engine, program, began, info))
    if program.kind == "redis" or instances is None:
        return Arrival(program, info, is_there=info.state is not ProgramState.STARTING)
    process = PidFile(Path(program.pidfile or engine.paths.program_pid(program.name))).living()
    mine = of_process(instances, process, program.node) if process is not None else None
    if mine is not None:
        is_there = mine.state == NodeState.RUNNING and not mine.waits
        return Arrival(program, info, is_there=is_there, waits_for=waits_in_words(mine))
    holders = (each for each in instances if each.instance == program.instance and not each.is_lost)
    stands_by = process is not None and any(each.about.process != process for each in holders)
    return Arrival(program, info, is_there=stands_by)


def _why(engine: Engine, program: Program, began: ProgramInfo, info: ProgramInfo) -> str:
    """The last words of its first life here, else how it ended."""
    failed = replace(began, state=ProgramState.FATAL, error=info.error)
    status = f"it ended with {info.exit_status}" if info.state not in LIVE else "it ended"
    return why_not(engine, program, failed) or (info.error if info.state in FAILING else "") or status
