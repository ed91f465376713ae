"""What each hived of a hive says of what is at home on its host: asked over the bus by whoever looks at all of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from pydantic import TypeAdapter

from ..bus.endpoint import Endpoint
from ..errors import RedisError
from ..settings import Settings
from .actions import Request, Verb
from .control import ask
from .engine import Engine, redis_url
from .plan import load
from .status import ProgramStatus, status
from .topology import Problem

HEARD, ANSWERED = 2.0, 5.0  # seconds in which a hived answers, and in which those that heard us have


@dataclass(frozen=True, slots=True)
class Report:
    """One host: the ``instances`` that should run there, those that were ``stopped`` by hand, why nodes do not run, and
    each program as `hived status` there shows it.
    """

    instances: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    programs: tuple[ProgramStatus, ...] = ()

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
    )


def report_in(text: str) -> Report | None:
    """What a hived answered, of any version; None if it is nothing of the kind."""
    try:
        return _report().validate_json(text)
    except ValueError:
        return None


async def reports(settings: Settings, hosts: Collection[str]) -> dict[str, Report]:
    """What the hiveds of ``hosts`` say, by host; nothing of those that do not answer, or are older."""
    endpoint = Endpoint.parse(redis_url(settings), settings.var)
    try:
        answers = await ask(endpoint, settings.name, Request(Verb.STATUS, ()), ANSWERED, HEARD, hosts=hosts)
    except RedisError:
        return {}
    told = {each.hived.host: report_in(one.text) for each in answers for one in each.results}
    return {host: report for host, report in told.items() if report is not None and host in hosts}
