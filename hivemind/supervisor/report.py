"""What a hived says of what is at home on its host. Who asks those of other hosts: ``reports``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from pydantic import TypeAdapter

from .engine import Engine
from .plan import load
from .status import ProgramStatus, status
from .topology import Problem
from .wishes import Wish, wishes


@dataclass(frozen=True, slots=True)
class Report:
    """One host: the ``instances`` that should run there, those that were ``stopped`` by hand, why nodes do not run, and
    each program as `hived status` there shows it; and what was asked of some lately.
    """

    instances: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    programs: tuple[ProgramStatus, ...] = ()
    wishes: dict[str, Wish] = field(default_factory=dict)

    def to_json(self) -> str:
        """As a hived answers."""
        return _report().dump_json(self).decode()


@cache
def _report() -> TypeAdapter[Report]:
    return TypeAdapter(Report)


def report_here(engine: Engine, *, ask_redis: bool = True) -> Report:
    """Look at this host; takes a moment."""
    plan, seen = load(engine.paths), status(engine, ask_redis=ask_redis)
    return Report(
        tuple(each.name for each in plan.programs if each.kind == "node"),
        tuple(each.name for each in plan.stopped),
        plan.problems,
        seen.programs,
        wishes(engine.paths.wishes),
    )


def report_in(text: str) -> Report | None:
    """What a hived answered, of any version; None if it is nothing of the kind."""
    try:
        return _report().validate_json(text)
    except ValueError:
        return None
