"""What should run in a hive on this machine: from hived where it runs, else from the hive's files. Loads no node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ConfigurationError
from ..settings import Settings
from ..supervisor.desired import read_scale, read_stopped
from ..supervisor.enabled import EnabledNode, enabled_nodes, existing_imports
from ..supervisor.engine import engine_for
from ..supervisor.paths import HivePaths
from ..supervisor.plan import load
from ..supervisor.processes import processes
from ..supervisor.status import ProgramStatus, status
from ..supervisor.topology import Problem, node_plans


@dataclass(frozen=True, slots=True)
class Declared:
    """What should run: ``instances``, less what was ``stopped`` by hand; ``problems`` say why a node does not.

    ``programs`` is what hived says of each of its programs, empty where it does not run (``is_supervised``).
    """

    instances: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    programs: Mapping[str, ProgramStatus] = field(default_factory=dict)
    is_supervised: bool = False

    def problem(self, node: str) -> Problem | None:
        """Why ``node`` does not run as asked."""
        return next((each for each in self.problems if each.node == node), None)


def declared(settings: Settings, *, ask_redis: bool = True) -> Declared:
    """What should run; asks hived for what it sees, and Redis, unless one knows that it is away. Never raises."""
    if settings.hive is None or os.name == "nt":
        return Declared()
    engine = engine_for(settings)
    if engine.supervisord() is None:
        return _from_files(settings)
    plan, seen = load(engine.paths), status(engine, ask_redis=ask_redis)
    return Declared(
        tuple(each.name for each in plan.programs if each.kind == "node"),
        tuple(each.name for each in plan.stopped),
        plan.problems,
        {each.name: each for each in seen.programs},
        is_supervised=True,
    )


def enabled(settings: Settings) -> dict[str, EnabledNode]:
    """What ``nodes/__init__.py`` enables, by name. Raises NodeLoadError when that file fails."""
    return {} if settings.hive is None else {one.name: one for one in enabled_nodes(settings.hive, os.environ)}


def _from_files(settings: Settings) -> Declared:
    assert settings.hive is not None
    paths = HivePaths.of(settings)
    try:
        plans = node_plans(settings, list(enabled(settings).values()), existing_imports(settings.hive))
    except ConfigurationError as error:
        return Declared(problems=(Problem("nodes", str(error).removeprefix("nodes: ")),))
    scale, stopped = read_scale(paths), read_stopped(paths)
    wanted = processes(plans)
    names = [f"{one.name}.{at}" for one in wanted for at in range(scale.get(one.name, one.replicas))]
    return Declared(
        tuple(name for name in names if name not in stopped), tuple(name for name in names if name in stopped)
    )
