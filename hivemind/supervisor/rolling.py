"""Programs go over to what the plan says now, one instance after the other; the next one's turn is when all is well.

Where a copy of a node is not well, the others of that node are not touched: they go on with the code that they have in
memory. Other nodes are another matter: each of them is tried, unless one has asked for these in particular.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ..states import RollStage
from . import wishes
from .cut_off import noted
from .engine import Engine
from .lives import read_lives
from .narrow import is_other
from .plan import Plan, load
from .releases import Release
from .returning import going_on, way_back
from .swap import Outcome, Swap
from .topology import Program

STOPPING = "the hive"  # what holds programs back while the hive is asked to stop


def nobody(_: Outcome) -> None:
    """Nobody wants to know how far it is."""


@dataclass(frozen=True, slots=True)
class How:
    """How to roll: each ``succeeded`` by a process that is ready before the old one ends, or stopped and started;
    ``at_once`` so many; ``is_strict``: the first that is not well ends it for all. ``tell`` hears of each stage.
    """

    succeeded: bool = True
    at_once: int = 1
    is_strict: bool = False
    tell: Callable[[Outcome], None] = nobody


@dataclass(slots=True)
class Rolled:
    """What became of each instance whose turn came, in that order, and which were ``held`` back, with the copy that was
    not well. ``release`` is what there is to go back to.
    """

    release: Release | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)

    @property
    def stayed(self) -> set[str]:
        """Those that were to change and run as before, without being restarted."""
        return {*self.held, *(name for name, one in self.outcomes.items() if one.stage is RollStage.REFUSED)}

    def fault(self, program: Program) -> str:
        """Why a program that stayed is not to have the files as they are; "" if it is not they that it stayed for."""
        first = self.outcomes.get(self.held.get(program.name, program.name))
        return first.why if first is not None and first.program.startswith(f"{program.node}.") else ""

    @property
    def is_well(self) -> bool:
        """Whether all of them have changed and are well."""
        return not self.held and all(one.is_well for one in self.outcomes.values())


def with_new_settings(before: Plan, plan: Plan) -> list[Program]:
    """The nodes of ``plan`` that are as they were but for their settings, what they need, or their code."""
    old = {each.name: each for each in before.programs if each.kind == "node"}
    pairs = [(each, old[each.name]) for each in plan.programs if each.name in old]
    changed = [(new, was) for new, was in pairs if (new.digest, new.priority) != (was.digest, was.priority)]
    return [new for new, was in changed if not is_other(new, _set_as(new, was))]


def _set_as(new: Program, was: Program) -> Program:
    return replace(was, digest=new.digest, priority=new.priority, code=new.code, stop_timeout=new.stop_timeout)


def with_new_code(before: Plan, plan: Plan) -> list[Program]:
    """The programs of ``plan`` that run other code by now than they did; not those of which that is not known."""
    known = {each.name: each.code for each in before.programs if each.code}
    return [each for each in plan.programs if each.code and known.get(each.name, each.code) != each.code]


def roll(engine: Engine, programs: Sequence[Program], old: Mapping[str, Program], how: How = How()) -> Rolled:
    """Let ``programs``, which run as ``old`` says, with their environments, be as supervisord's configuration has them.

    Raises SupervisorError and OSError.
    """
    if not programs:
        return Rolled()
    with noted(engine.paths, "hm roll" if how.is_strict else "hived reload", [each.name for each in programs]) as over:
        return _roll(engine, programs, old, how, over)


def _roll(
    engine: Engine, programs: Sequence[Program], old: Mapping[str, Program], how: How, over: Callable[[str], None]
) -> Rolled:
    release = way_back(engine)
    done, waiting = Rolled(release), list(programs)
    failed = {} if how.is_strict else _unwell(engine, programs)
    with ThreadPoolExecutor(how.at_once) as pool:
        while waiting:
            if not how.is_strict:
                done.held |= {each.name: failed[each.node] for each in waiting if each.node in failed}
                waiting = [each for each in waiting if each.node not in failed]
            turn = _next(waiting, failed, how)
            is_stopped = engine.paths.stopping.exists()
            if is_stopped or not turn:
                done.held |= {each.name: STOPPING if is_stopped else _holder(each, failed) for each in waiting}
                break
            otherwise = "" if how.is_strict else "rolled by `hived reload`"
            wishes.now(engine.paths.wishes, [each.name for each in turn], otherwise)
            swaps = [Swap(engine, old.get(each.name, each), each, release) for each in turn]
            runs = [pool.submit(swap.run, how.tell, succeeded=how.succeeded) for swap in swaps]
            for program, run in zip(turn, runs, strict=True):
                outcome = done.outcomes[program.name] = run.result()
                over(program.name)
                if not outcome.is_well:
                    failed[program.node] = program.name
            waiting = [each for each in waiting if each.name not in done.outcomes]
    return done


def _unwell(engine: Engine, programs: Sequence[Program]) -> dict[str, str]:
    """By node a copy that went over before, as others of ``programs`` are to, and does not stay up."""
    nodes, names = {each.node for each in programs}, {each.name for each in programs}
    others = [each for each in load(engine.paths).programs if each.node in nodes and each.name not in names]
    return {
        each.node: each.name for each in others if not each.fault and read_lives(engine.paths, each.name).keeps_ending
    }


def as_stayed(
    engine: Engine, rolled: Rolled, old: Mapping[str, Program], programs: Iterable[Program]
) -> dict[str, Program]:
    """Those of ``programs`` that stayed as ``old`` says, by name."""
    found = {}
    for new in programs:
        if new.name in rolled.stayed:
            was, fault = old[new.name], rolled.fault(new)
            is_code = fault and was.code not in ("", new.code)
            found[new.name] = going_on(engine, was, rolled.release, fault) if is_code else was
    return found


def held(first: str) -> str:
    """Why a program was held back, for people: because of the copy that was not well ``first``."""
    if first == STOPPING:
        return "not touched, because the hive is stopped"
    return f"not touched, because {first} is not well with the new version"


def _next(waiting: Sequence[Program], failed: Mapping[str, str], how: How) -> list[Program]:
    """Whose turn it is: nobody's where one was not well and that ends it."""
    return [] if failed and how.is_strict else list(waiting[: how.at_once])


def _holder(program: Program, failed: Mapping[str, str]) -> str:
    return failed.get(program.node) or next(iter(failed.values()), STOPPING)
