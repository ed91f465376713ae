"""Sends back who has died and cannot come back, because a file was saved meanwhile that does not load.

What a file needs as it is imported may be away for a while, and is no Python that anybody would save anew: whoever was
sent back and ends early again has the files as soon as they load. Where the release does not load either, nobody is
sent back to it: the files are what their author can mend.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from ..errors import HivemindError
from .actions import named, problems_of
from .apply import apply
from .engine import Engine
from .files import time_of
from .plan import Plan, load
from .releases import Release
from .returning import complete, hold_back, problems_in, release_of, told, way_back
from .topology import Problem, Program

log = logging.getLogger("hived")

LOOK = 0.5  # seconds between two looks for who has ended


class Rescuer:
    """Is told who ``ended``. ``fresh`` gives the engine with the settings as they are now."""

    def __init__(self, fresh: Callable[[], Engine]) -> None:
        self._fresh = fresh
        self._ended: deque[str] = deque(maxlen=1000)
        self._tried: dict[str, tuple[int, ...]] = {}  # by program the times of its files when they were looked at

    def ended(self, name: str) -> None:
        """The program of that name has ended early; on any thread."""
        self._ended.append(name)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK)
            names = {self._ended.popleft() for _ in range(len(self._ended))}
            if names:
                try:
                    await asyncio.to_thread(self._look, names)
                except (HivemindError, OSError) as error:
                    log.warning("whether they can come back is not known: %s", error)

    def _look(self, names: Collection[str]) -> None:
        engine = self._fresh()
        plan = load(engine.paths)
        ended = [each for each in plan.programs if each.name in names]
        if engine.paths.stopping.exists():
            return
        self._try_files(engine, [each for each in ended if each.fault and not each.sharing and _is_mending(plan, each)])
        found = [each for each in ended if self._is_open(each)]
        problems = problems_of(engine, found)
        lost = [each for each in found if not problems.keys().isdisjoint(each.members)]
        if not lost:
            return
        with engine.lock():
            release = way_back(engine)
        if release is not None:
            self._send_back(engine, lost, problems, release)

    def _try_files(self, engine: Engine, back: Sequence[Program]) -> None:
        """Those that were sent back because of their files, and do not stay up: they have them again, if these load."""
        if not back:
            return
        for each in back:
            if (release := release_of(engine, each)) is not None:
                complete(engine.paths.hive, release)
        problems = problems_of(engine, back)
        sound = [each.name for each in back if problems.keys().isdisjoint(each.members)]
        if not sound:
            return
        log.warning("%s ended with the code of before, and the files load now: back to them", ", ".join(sound))
        for name in sound:
            self._tried.pop(name, None)
        with engine.lock():
            done = apply(engine, named(sound))
        for outcome in done.rolled.outcomes.values():
            log.log(logging.INFO if outcome.is_well else logging.ERROR, "%s: %s", outcome.program, outcome.text)

    def _send_back(
        self, engine: Engine, lost: Sequence[Program], problems: Mapping[str, Problem], release: Release
    ) -> None:
        complete(engine.paths.hive, release)
        worse = problems_in(engine, release, lost)
        sent = [each for each in lost if worse.keys().isdisjoint(each.members)]
        with engine.lock():
            hold_back(engine, sent, problems)
        for each in lost:
            said = f"{each.name} ended, and its file does not load: {_reason(each, problems)}"
            if each in sent:
                log.error("%s. It comes back with %s", said, told(release))
            else:
                self._tried.pop(each.name, None)
                log.error("%s. Nor does it in %s: %s", said, told(release), _reason(each, worse))

    def _is_open(self, program: Program) -> bool:
        """Whether it may have files that do not load, and goes by them; each change of them is looked at once."""
        if program.fault or program.sharing:
            return False
        stamps = tuple(time_of(file) for file in program.members.values() if file)
        is_new = self._tried.get(program.name) != stamps
        self._tried[program.name] = stamps
        return bool(stamps) and is_new


def _is_mending(plan: Plan, program: Program) -> bool:
    """Whether its files are waited for: those that a roll found not to be well are not."""
    return not plan.mending.keys().isdisjoint(program.members.values())


def _reason(program: Program, problems: Mapping[str, Problem]) -> str:
    return "; ".join(problems[name].text for name in program.members if name in problems)
