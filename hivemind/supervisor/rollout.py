"""`hm roll` in one hived, and what a hived that was killed in the middle of a roll has left to the next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ..errors import HivemindError
from ..identity import PidFile
from .actions import (
    Done,
    Request,
    Result,
    named,
    problems_of,
    reasons,
    refused,
    select,
    with_members,
    with_what_goes_on,
)
from .apply import apply
from .client import LIVE, ProgramInfo
from .cut_off import cut_off, settled
from .engine import Engine
from .halt import pidfiles
from .holding import held_by
from .plan import Plan, load
from .returning import hold_back, stay, whole
from .rolling import How, as_stayed, held, roll
from .stopping import patience
from .successor import left_over, settle_running
from .swap import Outcome
from .topology import Program

log = logging.getLogger("hived")

AT_ONCE = "max_unavailable"  # the option: so many are stopped at once, and none has a successor
MOST_AT_ONCE = 1000
LOOK = 5.0  # seconds between two looks for what was left undone


def rollout(engine: Engine, request: Request, tell: Callable[[Outcome], None]) -> Done:
    """Roll what is asked for, and say for each program what became of it. ``tell`` hears of each stage.

    Raises SupervisorError and ConfigurationError when nothing could be done.
    """
    with engine.lock():
        before = load(engine.paths)
        if sharing := refused(before, request):
            return Done(sharing)
        programs = select(before, request.targets)
        problems = problems_of(engine, programs, in_time=True)  # a successor would not be ready either
        if faulty := reasons(programs, problems):
            live = {info.name for info in engine.client().programs() if info.state in LIVE}
            hold_back(engine, [each for each in programs if each.name in live], problems)
            found = with_what_goes_on(engine, faulty)
            found = {each.name: found.get(each.name, _untouched(found)) for each in programs}
            return Done([Result(name, False, text) for name, text in found.items()])
        done = apply(engine, named([each.name for each in programs]), _how(request, tell))
        results = [Result(name, one.is_well, one.text) for name, one in done.rolled.outcomes.items()]
        results += [Result(name, False, held(first)) for name, first in done.rolled.held.items()]
        known = {each.program for each in results}
        results += [_not_rolled(before, each) for each in programs if each.name not in known]
        return Done(with_members(before, results), done.waiting)


def _how(request: Request, tell: Callable[[Outcome], None]) -> How:
    number = request.options.get(AT_ONCE, "")
    at_once = max(1, min(MOST_AT_ONCE, int(number))) if number.isdecimal() else 1
    return How(succeeded=not number, at_once=at_once, is_strict=True, tell=tell)


def _untouched(found: Mapping[str, str]) -> str:
    return f"not touched, because {next(iter(found))} would not load"


def _not_rolled(before: Plan, program: Program) -> Result:
    if program in before.stopped:
        return Result(program.name, True, f"is stopped: `hm start {program.name}` starts it as it is now")
    return Result(program.name, True, "did not run: it starts as it is now")


class Finisher:
    """Finishes or undoes the rolls of hiveds that were killed, and rolls survivors of an older version.

    ``infos`` gives what supervisord said last: it is asked anew only where that says that there is something to do.
    """

    def __init__(self, engine: Engine, infos: Callable[[], Iterable[ProgramInfo]]) -> None:
        self._engine, self._infos = engine, infos
        self._tried: set[tuple[str, str]] = set()  # name and version of what was tried: once is enough

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with contextlib.suppress(HivemindError, OSError):  # it does not answer: later
                await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK)

    def look(self) -> None:
        """Do what is to be done, when nobody else is at it. Raises SupervisorError and OSError."""
        if not self._is_due() or self._engine.paths.stopping.exists() or held_by(self._engine.paths.lock) is not None:
            return
        with self._engine.lock():  # who rolls now has it, and then nothing of this was left undone
            engine, client = self._engine, self._engine.client()
            plan = load(engine.paths)
            for name in left_over(engine.paths):
                program = plan.program(name)
                settle_running(engine, client, name, patience([program] if program else []))
            late = self._outdated(plan, client.programs())
            self._tried |= {(each.name, each.version) for each, _ in late}
            if (rolling := cut_off(engine.paths)) is not None:
                log.warning("%s", settled(engine.paths, rolling, [each.name for each, _ in late]))
            if late:
                log.warning("%s: of an older version, rolled", ", ".join(each.name for each, _ in late))
                self._roll(late)

    def _roll(self, late: list[tuple[Program, str]]) -> None:
        old = {each.name: as_of(each, digest) for each, digest in late}
        done = roll(self._engine, [each for each, _ in late], old)
        for outcome in done.outcomes.values():
            log.log(logging.INFO if outcome.is_well else logging.ERROR, "%s: %s", outcome.program, outcome.text)
        for name, first in done.held.items():
            log.error("%s: %s", name, held(first))
        if done.stayed:
            stayed = as_stayed(self._engine, done, old, [each for each, _ in late])
            stay(self._engine, self._engine.client(), stayed)

    def _is_due(self) -> bool:
        paths = self._engine.paths
        is_cut_off = bool(left_over(paths)) or paths.rolling.exists()
        return is_cut_off or bool(self._outdated(load(self._engine.paths), self._infos()))

    def _outdated(self, plan: Plan, infos: Iterable[ProgramInfo]) -> list[tuple[Program, str]]:
        found = outdated(self._engine, plan, {info.name: info for info in infos})
        return [(whole(self._engine, each), digest) for each, digest in found if self._is_new(each)]

    def _is_new(self, program: Program) -> bool:
        return (program.name, program.version) not in self._tried


def outdated(engine: Engine, plan: Plan, infos: Mapping[str, ProgramInfo]) -> list[tuple[Program, str]]:
    """The programs that live and are not what the plan says, with what their pidfiles say that they are. Redis is never
    one: only a reload restarts it.
    """
    files, found = pidfiles(engine, plan), []
    for program in plan.programs:
        info, path = infos.get(program.name), files.get(program.name)
        if info is None or path is None or info.state not in LIVE or program.kind == "redis":
            continue
        record = PidFile(path).read()
        if record is not None and record.digest != program.version and record.identity.is_alive():
            found.append((program, record.digest))
    return found


def as_of(program: Program, version: str) -> Program:
    """``program`` as it was when its version was that."""
    digest, _, code = version.partition(".")
    return replace(program, digest=digest, code=code)
