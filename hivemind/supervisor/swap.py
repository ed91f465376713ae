"""One instance goes from the process that runs to the next: by which stages, is in states.ROLL.

The old process is not touched before its successor is ready; what is not well after it took over goes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..data.records import Instance, Stats
from ..states import ROLL, RollStage, advance
from .arrival import Arrival, arrivals
from .client import LIVE
from .engine import Engine
from .health import cost, losses, mine, unwell
from .lives import forget
from .releases import Release
from .returning import sent_back, stay, told
from .status import registered
from .stopping import patience, stop
from .successor import Successor
from .topology import Program

PROOF = 2.0  # seconds for which what took over has to go on, at least; and for one and a half heartbeats
LOOK = 0.2  # seconds between two looks at it
OVER = frozenset(stage for stage, following in ROLL.items() if not following)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far one program is, or what became of it, and ``why`` if it is not well.

    Seconds: until its successor was ``ready``, None without one; and ``handed`` over. ``back`` is the release
    to go back to, ``cost`` what is known to have gone wrong before that.
    """

    program: str
    stage: RollStage
    why: str = ""
    ready: float | None = None
    handed: float = 0.0
    missed: int = 0
    dropped: int = 0
    back: str = ""
    cost: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it runs as it should by now."""
        return self.stage is RollStage.DONE

    @property
    def text(self) -> str:
        """For people."""
        return _TEXTS[self.stage].format(
            why=self.why,
            handed=self.handed,
            missed=self.missed,
            dropped=self.dropped,
            back=f"{self.back}{self.cost}",
            how=self._how,
        )

    @property
    def _how(self) -> str:
        return "restarted" if self.ready is None else f"rolled: successor ready in {self.ready:.1f} s"


_TEXTS: Mapping[RollStage, str] = {
    RollStage.WAITING: "waits for its turn",
    RollStage.STARTING: "its successor starts",
    RollStage.DRAINING: "drains",
    RollStage.TAKING: "the new one takes over",
    RollStage.PROVING: "the new one is watched",
    RollStage.RETURNING: "goes back",
    RollStage.DONE: "{how}, took over in {handed:.1f} s; {missed:,} missed, {dropped:,} dropped",
    RollStage.REFUSED: "not touched: {why}; the old one goes on",
    RollStage.RETURNED: "{how}, but it does not stay up: {why}. It went back to the code of {back}",
    RollStage.FAILED: "{how}, but it does not stay up: {why}",
}


class Swap:
    """Takes one program from ``old`` to ``program``, which supervisord's configuration has already.

    ``way_back`` is the release that it goes back to. ``tell`` is called at each stage.
    """

    def __init__(self, engine: Engine, old: Program, program: Program, way_back: Release | None) -> None:
        self._engine, self._client = engine, engine.client()
        self._old, self._program, self._way_back = old, program, way_back
        self._successor: Successor | None = None
        self._stage, self._why = RollStage.WAITING, ""
        self._before: Stats | None = None
        self._ready: float | None = None
        self._handed = 0.0
        self._losses, self._cost = (0, 0), ""
        self._draining = 0.0

    def run(self, tell: Callable[[Outcome], None], *, succeeded: bool) -> Outcome:
        """Go through all stages, with a successor if it is to be ``succeeded``. Raises SupervisorError, OSError."""
        before = mine(self._instances(), self._program.name)
        self._before = before.stats if before is not None else None
        is_live = self._is_live()
        if succeeded and is_live and before is not None and can_be_succeeded(self._program):
            self._successor = Successor(self._engine, self._program)
        self._enter(RollStage.STARTING if self._successor is not None else RollStage.DRAINING)
        steps = {
            RollStage.STARTING: self._start,
            RollStage.DRAINING: self._drain,
            RollStage.TAKING: self._take,
            RollStage.PROVING: self._prove,
            RollStage.RETURNING: self._return,
        }
        try:
            while self._stage in steps:
                tell(self._outcome())
                self._enter(steps[self._stage]())
        finally:
            if self._successor is not None and (self._stage is RollStage.STARTING or self._stage in OVER):
                self._successor.end()
        tell(self._outcome())
        return self._outcome()

    def _enter(self, stage: RollStage) -> None:
        self._stage = advance(ROLL, self._stage, stage)

    def _outcome(self) -> Outcome:
        back = told(self._way_back) if self._way_back is not None else ""
        figures = self._ready, self._handed, *self._losses
        return Outcome(self._program.name, self._stage, self._why, *figures, back, self._cost)

    # -- its stages

    def _start(self) -> RollStage:
        assert self._successor is not None
        began = time.monotonic()
        self._successor.start()
        self._why = self._successor.wait()
        self._ready = time.monotonic() - began
        return RollStage.REFUSED if self._why else RollStage.DRAINING

    def _drain(self) -> RollStage:
        name = self._program.name
        self._draining = time.monotonic()
        if self._successor is not None:
            self._successor.go()
        stop(self._client, [name], patience([self._old]))
        self._client.remove(name)
        forget(self._engine.paths, name)
        if self._successor is not None:
            self._successor.hand_over()
        self._client.add(name)
        return RollStage.TAKING

    def _take(self) -> RollStage:
        arrival = arrivals(self._engine, [self._program.name]).get(self._program.name)
        self._handed = time.monotonic() - self._draining
        self._why = _why(arrival)
        return RollStage.RETURNING if self._why else RollStage.PROVING

    def _prove(self) -> RollStage:
        deadline = time.monotonic() + max(PROOF, 1.5 * self._engine.settings.constants.HEARTBEAT)
        first = self._client.program(self._program.name)
        while time.monotonic() < deadline:
            time.sleep(LOOK)
            info = self._client.program(self._program.name)
            if self._program.restart != "always" and info.state not in LIVE and info.exit_status == 0:
                return RollStage.DONE
            if (info.pid, info.started) != (first.pid, first.started) or info.state not in LIVE:
                arrival = arrivals(self._engine, [self._program.name], 0.0).get(self._program.name)
                self._why = (arrival.why if arrival is not None else "") or "it ended"
                return RollStage.RETURNING
        now = mine(self._instances(), self._program.name)
        if now is not None and self._program.kind == "node":
            self._why, self._losses = unwell(self._before, now), losses(now.stats)
            self._cost = f"; until then {found}" if (found := cost(now.stats)) else ""
        return RollStage.RETURNING if self._why else RollStage.DONE

    def _return(self) -> RollStage:
        if self._way_back is None or self._old.code in ("", self._program.code):
            return RollStage.FAILED
        name, back = self._program.name, sent_back(self._engine, self._old, self._way_back, self._why)
        stay(self._engine, self._client, {name: back})
        stop(self._client, [name], patience([self._program]))
        self._client.remove(name)
        forget(self._engine.paths, name)
        self._client.add(name)
        if why := _why(arrivals(self._engine, [name]).get(name)):
            self._why += f"; with {told(self._way_back)} it is not well either: {why}"
            return RollStage.FAILED
        return RollStage.RETURNED

    # -- looking

    def _instances(self) -> list[Instance] | None:
        return asyncio.run(registered(self._engine))

    def _is_live(self) -> bool:
        return any(info.name == self._program.name and info.state in LIVE for info in self._client.programs())


def can_be_succeeded(program: Program) -> bool:
    """Whether two processes of it may live side by side for a moment: a node that is to run for ever. How one ends that
    was adopted, nobody learns.
    """
    return program.kind == "node" and program.restart == "always"


def _why(arrival: Arrival | None) -> str:
    """Why what was started is not there."""
    if arrival is None:
        return "supervisord does not know it"
    if arrival.is_there or arrival.waits_for or (arrival.has_ended and arrival.is_well):
        return ""
    return arrival.why or "it does not consume"
