"""One drill after the other: probes, a fault, what becomes of it, and everything as it was before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ..english import MOST, listed
from ..errors import RedisError, SupervisorError
from ..states import DrillStage
from ..supervisor.engine import Engine
from ..supervisor.status import ProgramStatus
from .choice import Chosen
from .cleaning import clean
from .course import Course, failed, step
from .crew import Crew
from .faults import Fault, Scene
from .healer import Healer
from .limits import stretch
from .probe import INSTANCES, PREFIX
from .report import Allowed, Report
from .site import FAILING, Site

LOOK = 0.025  #: seconds between two looks
PAUSE = 0.2  #: the same before anything is broken
CALM = 1.0  #: seconds for which messages have to flow before anything is broken
WELL = 15.0  #: seconds in which a hive that was just started has to be well
QUIET = 10.0  #: seconds in which the probes have to stop sending
AT_REST = 4.0  #: seconds beyond a lease without news, after which what has not been handled never will be


class Drills:
    """Drills in one hive; made by ``opened``."""

    def __init__(self, scene: Scene, slowness: float) -> None:
        self.scene, self.site, self.crew = scene, scene.site, scene.crew
        self.slowness = slowness
        self._ledgers: dict[str, int] = {}

    async def run(self, chosen: Chosen) -> Report:
        """One drill. Raises SupervisorError, before anything is done, where that cannot be done to that."""
        await self.site.look()
        fault = chosen.make(self.scene)
        await fault.prepare()
        self.crew.go()
        try:
            course, before = await self._run(fault)
        finally:
            await self._mend(fault)
        await self._quiet()
        report = await self._report(fault, course, before)
        await self.crew.start()
        return report

    async def _run(self, fault: Fault) -> tuple[Course, dict[str, int]]:
        course, before = Course.begun(time.monotonic()), dict[str, int]()
        while not course.is_over:
            await asyncio.sleep(LOOK)
            await self.site.look()
            self.crew.read()
            stage = course.stage
            is_so = await self._is_so(fault, course)  # which may take a while: that belongs to the time it took
            course = step(course, time.monotonic(), is_so=is_so)
            if course.stage is stage:
                continue
            if course.stage is DrillStage.INJECTED:
                await fault.prepare()
                before = self.site.lives([*self.site.expected(), *INSTANCES])
                self._ledgers = self.crew.counted()
                course = Course(course.stage, {**course.at, course.stage: time.monotonic()})
                await fault.inject()
                if not await self._happened(fault):
                    course = failed(course, time.monotonic(), "it did not happen")
                elif fault.since is not None:
                    course = Course(course.stage, {**course.at, course.stage: fault.since})
            elif course.stage is DrillStage.BACK:
                self.crew.quiet()
        return course, before

    async def _happened(self, fault: Fault) -> bool:
        deadline = time.monotonic() + fault.within
        while not await fault.happened():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK / 5)
        return True

    async def _is_so(self, fault: Fault, course: Course) -> bool:
        """Whether what leads on from this stage has come."""
        now, books = time.monotonic(), self.crew.books
        match course.stage:
            case DrillStage.STEADY:
                since = course.at[DrillStage.STEADY]
                return now - since > CALM and self.is_well() and books.flows(now - CALM / 2, self.crew.lives)
            case DrillStage.INJECTED:
                return await fault.noticed()
            case DrillStage.NOTICED:
                if now - course.at[DrillStage.INJECTED] >= fault.lasts:
                    with suppress(RedisError):
                        if fault.lasts:  # or we would heal what is to heal by itself
                            await fault.heal()
                        return await fault.is_over()
                return False
            case DrillStage.HEALED:
                since = course.at[DrillStage.HEALED if fault.limits.from_end else DrillStage.INJECTED]
                is_there = self.site.is_readable and self.is_well(fault.hit) and await fault.is_back()
                return is_there and books.flows(since, self.crew.lives)
            case DrillStage.BACK:
                rest = self.site.settings.constants.LEASE + AT_REST  # what the dead had in hand may wait for a lease
                at_rest = now - books.news > rest and books.quiet >= {*self.crew.lives}
                return books.is_drained(self.crew.lives) or at_rest
            case _:
                return False

    def is_well(self, but: AbstractSet[str] = frozenset()) -> bool:
        """Whether all that hived runs, and all probes, are there; those in ``but`` are asked for elsewhere."""
        wanted = {*self.site.expected(), *(one.instance for one in self.crew.members.values() if not one.ended)} - but
        return len(self.site.lives(sorted(wanted))) == len(wanted)

    async def _mend(self, fault: Fault) -> None:
        """Take it back, whatever happened; the healer does, if Redis cannot be told that now."""
        self.crew.quiet()
        with suppress(RedisError):
            await fault.heal()
            await self.scene.healer.mended()

    async def _quiet(self) -> None:
        """Wait until nobody sends any more, also where the drill went no further: the next has books of its own."""
        deadline = time.monotonic() + QUIET
        while not self.crew.books.quiet >= {*self.crew.lives} and time.monotonic() < deadline:
            await asyncio.sleep(LOOK)
            self.crew.read()

    async def _report(self, fault: Fault, course: Course, before: Mapping[str, int]) -> Report:
        account = self.crew.account()
        uncounted = await self._uncounted(account.missed)
        after = self.site.lives(list(before))
        restarted = [name for name, one in before.items() if name not in fault.hit and after.get(name, one) != one]
        from_stage = DrillStage.HEALED if fault.limits.from_end else DrillStage.INJECTED
        return Report(
            fault.name,
            fault.target,
            fault.limits,
            self._allowed(fault, course),
            course.after(DrillStage.INJECTED, DrillStage.NOTICED),
            course.after(from_stage, DrillStage.BACK),
            account.sent,
            account.lost,
            account.doubled,
            account.out_of_order,
            account.missed,
            uncounted,
            tuple(restarted),
            course.why,
            self.slowness,
            datetime.now(UTC).isoformat(timespec="seconds"),
            await self.site.server(),
        )

    def _allowed(self, fault: Fault, course: Course) -> Allowed:
        """How many messages the limits come to at the rate of that moment."""
        limits, books, at = fault.limits, self.crew.books, course.at.get(DrillStage.INJECTED, 0.0)
        until = at if fault.since is None else course.at.get(DrillStage.NOTICED, at)
        lost = None if limits.lost is None else books.safe_between(at - limits.lost, until) if limits.lost else 0
        harmed = list(books.heard) if fault.harms_all else fault.harmed
        doubled = books.handled_between(at - limits.doubled, at, harmed) + len(harmed) if limits.doubled else 0
        return Allowed(lost, doubled)

    async def _uncounted(self, missed: int) -> int:
        """How many of so many live messages no ledger counted; a beat or two may pass until they show."""
        deadline = time.monotonic() + 3 * self.site.settings.constants.HEARTBEAT
        while True:
            counted = sum(self.crew.counted().get(life, 0) - self._ledgers.get(life, 0) for life in self.crew.lives)
            if missed <= counted or time.monotonic() > deadline:
                return max(0, missed - counted)
            await asyncio.sleep(LOOK)
            await self.site.look()


@asynccontextmanager
async def opened(engine: Engine, say: Callable[[str], None], *, is_canary: bool = False) -> AsyncIterator[Drills]:
    """Probes in a hive that runs; they are gone afterwards, and all that they left in Redis with them.

    Raises SupervisorError where hived does not run here, or another drill goes on.
    """
    if not engine.is_running():
        raise SupervisorError("hived does not run this hive here: `hived start`")
    async with Site(engine) as site:
        await _look_first(site)
        with TemporaryDirectory(prefix="hm-drill-") as folder:
            async with Healer(site.url, engine.settings.name, engine.paths.var) as healer:
                crew = Crew(site, healer, Path(folder), is_canary=is_canary)
                try:
                    say("starting the probes")
                    await clean(site.bus.commands, site.bus.names)
                    start = await crew.start()
                    yield Drills(Scene(site, crew, healer), stretch(start))
                finally:
                    await crew.end()


async def _look_first(site: Site) -> None:
    deadline = time.monotonic() + WELL
    await site.look()
    while reason := await _unwell(site):
        if time.monotonic() > deadline:
            raise SupervisorError(f"the hive is not well: {reason}; nothing was broken")
        await asyncio.sleep(PAUSE)
        await site.look()
    if there := [name for name, one in site.seen.items() if name.startswith(PREFIX) and not one.is_lost]:
        raise SupervisorError(f"another drill goes on in this hive: {there[0]} lives")


async def _unwell(site: Site) -> str:
    """What is not well; "" where all is."""
    if not site.is_readable:
        return "Redis does not answer: see `hm status`"
    if failing := await site.failing():
        return "; ".join(map(_how_it_fails, failing[:MOST]))
    absent = sorted({*site.expected()} - site.lives(site.expected()).keys())
    return f"not running is: {listed(absent)}" if absent else ""


def _how_it_fails(program: ProgramStatus) -> str:
    if program.state in FAILING:
        return f"{program.name} is {program.state}{f': {program.detail}' if program.detail else ''}"
    return f"{program.name} has just ended early {program.failures} times in a row"


async def drill(
    engine: Engine, chosen: Sequence[Chosen], say: Callable[[str], None], show: Callable[[Report], None]
) -> None:
    """Drill after drill; ``say`` is told how it goes, ``show`` what came of it. Raises SupervisorError, RedisError."""
    async with opened(engine, say) as drills:
        for one in chosen:
            say(f"{one.verb} {one.target}")
            show(await drills.run(one))
