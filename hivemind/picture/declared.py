"""What should run in a hive: from hived where it runs, here and on other hosts, else from its files. Loads no node."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import ConfigurationError
from ..settings import Settings
from ..supervisor.cut_off import lately as left_undone
from ..supervisor.desired import read_scale, read_stopped
from ..supervisor.enabled import EnabledNode, enabled_nodes, existing_imports
from ..supervisor.engine import engine_for, host_here, inherited
from ..supervisor.halt import survivors
from ..supervisor.in_vain import fault_of_hive
from ..supervisor.paths import HivePaths
from ..supervisor.releases import way_out
from ..supervisor.report import Report, report_here
from ..supervisor.standing import in_words, stopped
from ..supervisor.status import ProgramStatus
from ..supervisor.stood import lately
from ..supervisor.strays import removed_under
from ..supervisor.topology import Problem, Program, Selection, node_plans, programs
from ..supervisor.wishes import Wish, who_stopped

AWAY = "away"  #: the state of a program at home on a host of which no hived answers


@dataclass(frozen=True, slots=True)
class Declared:
    """What should run: ``instances``, less what was ``stopped`` by hand; ``problems`` say why a node does not.

    ``programs`` is what hived says of each of its programs, empty where it does not run (``is_supervised``). ``away``
    has the other hosts of the hive of which no hived answers, each with the instances that are at home there. ``stood``
    says who of hived and supervisord stood still here lately, and was killed for it, ``standing`` who does so now, or
    what runs although the files were removed that say so;
    ``settings`` what is wrong with those of the hive, if the ones that were applied last hold; ``undone`` what a roll
    that was cut off here has left; ``unguarded`` are the programs that run on here though hived, which started them,
    has ended, and nobody asked it to; ``way_out`` is what a rollback here would do for the nodes with problems;
    ``wishes`` are what somebody asked of nodes or programs lately.
    """

    instances: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    programs: Mapping[str, ProgramStatus] = field(default_factory=dict)
    is_supervised: bool = False
    away: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stood: str = ""
    settings: str = ""
    undone: str = ""
    standing: str = ""
    unguarded: tuple[str, ...] = ()
    way_out: str = ""
    wishes: Mapping[str, Wish] = field(default_factory=dict)

    def stopped_by(self) -> dict[str, list[str]]:
        """What was stopped, by who did that, as it goes on from "stopped"."""
        found: dict[str, list[str]] = {}
        for name in self.stopped:
            found.setdefault(who_stopped(self.wishes, name), []).append(name)
        return found

    def problem(self, node: str) -> Problem | None:
        """Why ``node`` does not run as asked."""
        return next((each for each in self.problems if each.node == node), None)


def declared(settings: Settings, *, ask_redis: bool = True) -> Declared:
    """What should run; asks hived for what it sees, and Redis, and over it the other hosts, unless one knows that it is
    away. Never raises.
    """
    if settings.hive is None or os.name == "nt":
        return Declared()
    engine = engine_for(settings)
    if said := removed_under(engine):
        mine = replace(_from_files(settings), standing=said, is_supervised=True)
    elif engine.supervisord() is None:
        mine = replace(_from_files(settings), unguarded=tuple(sorted(survivors(engine))))
    else:
        fault = fault_of_hive(settings.hive, inherited(engine.paths) or os.environ)
        was, now = lately(engine.paths.stood), in_words(engine, stopped(engine))
        left = left_undone(engine.paths)
        known = Declared(is_supervised=True, stood=was, standing=now, settings=fault, undone=left)
        mine = _added(known, report_here(engine, ask_redis=ask_redis))
        mine = replace(mine, way_out=way_out(engine.paths) if mine.problems else "")
    others = settings.constants.HOSTS.keys() - {host_here(engine.paths)}
    return _with_others(settings, mine, others) if others and ask_redis else mine


def enabled(settings: Settings) -> dict[str, EnabledNode]:
    """What ``nodes/__init__.py`` enables, by name. Raises NodeLoadError when that file fails."""
    return {} if settings.hive is None else {one.name: one for one in enabled_nodes(settings.hive, os.environ)}


def everywhere(settings: Settings, scale: Mapping[str, int] | None = None) -> list[Program]:
    """Every copy of every node with its home, by the hive's files and what `hm scale` asked for, or is to with
    ``scale``; none outside a hive. Raises ConfigurationError where the files are at fault.
    """
    if settings.hive is None:
        return []
    plans = node_plans(settings, list(enabled(settings).values()), existing_imports(settings.hive))
    asked = {**read_scale(HivePaths.of(settings)), **(scale or {})}
    return programs(settings, plans, scale=asked, redis=None, selection=Selection(root=False))


def _from_files(settings: Settings) -> Declared:
    try:
        found = everywhere(settings)
    except ConfigurationError as error:
        return Declared(problems=(Problem("nodes", str(error).removeprefix("nodes: ")),))
    paths = HivePaths.of(settings)
    here, stopped = host_here(paths), read_stopped(paths)
    names = [one.name for one in found if one.home in ("", here)]
    return Declared(
        tuple(name for name in names if name not in stopped), tuple(name for name in names if name in stopped)
    )


def _added(mine: Declared, report: Report, where: str = "") -> Declared:
    """What is known, and what one hived says; ``where`` is added to why one of its programs does not run."""
    told = {one.name: replace(one, detail=f"{one.detail}{where}" if one.detail else "") for one in report.programs}
    known = {(one.node, one.text) for one in mine.problems}
    return replace(
        mine,
        instances=(*mine.instances, *report.instances),
        stopped=(*mine.stopped, *report.stopped),
        problems=(*mine.problems, *(one for one in report.problems if (one.node, one.text) not in known)),
        programs={**told, **mine.programs},
        wishes={**report.wishes, **mine.wishes},
    )


def _with_others(settings: Settings, mine: Declared, others: set[str]) -> Declared:
    from ..supervisor.reports import reports  # noqa: PLC0415 - it loads the bus, and most hives have one host

    said = asyncio.run(reports(settings, others))
    for host, report in sorted(said.items()):
        mine = _added(mine, report, f" (on {host})")
    try:
        found = everywhere(settings)
    except ConfigurationError:  # told by who looks at this host
        found = []
    away = {host: tuple(one.name for one in found if one.home == host) for host in sorted(others - said.keys())}
    told = [(name, f"no hived answers on {host}, its home") for host, names in away.items() for name in names]
    unknown = {name: ProgramStatus(name, AWAY, detail=why) for name, why in told}
    return replace(mine, away=away, programs={**unknown, **mine.programs})
