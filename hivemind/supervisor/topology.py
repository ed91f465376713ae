"""From settings and enabled nodes to programs: pure, so that it can be read and tested as data."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..constants import did_you_mean
from ..data.needs import TOPIC, topic_of
from ..errors import ConfigurationError
from ..settings import Constants, NodeTuning, Settings
from .enabled import EnabledNode
from .placement import check_wishes, fitting, homes
from .processes import REDIS, ROOT, NodePlan, ProcessPlan, Restart, agreed, processes

FIRST, ROOT_PRIORITY, NODE_PRIORITY = 1, 5, 10  # Redis starts first and stops last
FOR_HIVED = ("NODES", "HOSTS")  # no process is other for them
FOR_ROOT = ("HIVE_DEFAULT_HOST", "HIVE_DEFAULT_PORT", "HIVE_KEY", "HIVE_CONTROLLER", "STATIC_DIRS", "TEMPLATE_DIRS")
NOT_FOR_NODES = (*FOR_HIVED, *FOR_ROOT, "PRODUCTION")
Kind = Literal["redis", "root", "node"]


@dataclass(frozen=True, slots=True)
class Program:
    """One process that hived keeps alive. ``stop_timeout`` is in seconds; ``digest`` changes when it must restart."""

    name: str  # the instance for nodes: batsignal.0
    kind: Kind
    node: str
    command: tuple[str, ...]
    priority: int
    digest: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    restart: Restart = "always"
    stop_timeout: float = 10.0
    tags: tuple[str, ...] = ()
    members: Mapping[str, str] = field(default_factory=dict)  # the nodes in it, with the files of their code
    pidfile: str = ""  # "" : the usual place
    code: str = ""  # a hash over the files of its nodes; "" : not known
    home: str = ""  # the host that it is to run on; "" : each
    fault: str = ""  # why the files of its nodes are not for it: it has the code of before, until they are mended

    @property
    def number(self) -> int:
        """Which copy of its node this is, from 0."""
        return int(self.name.partition(".")[2] or 0)

    @property
    def instance(self) -> str:
        """What it is called in the registry."""
        return f"{self.node}.{self.number}"

    @property
    def version(self) -> str:
        """What runs, settings and code: other than planned, and it has to restart."""
        return f"{self.digest}.{self.code}" if self.code else self.digest

    def is_meant(self, targets: Sequence[str]) -> bool:
        """Whether one of ``targets`` (a node, an instance, ``@tag``, ``@all``) names it."""
        return not {self.node, self.name, *(f"@{tag}" for tag in self.tags)}.isdisjoint(targets) or (
            self.kind == "node" and "@all" in targets
        )

    @property
    def sharing(self) -> tuple[str, ...]:
        """The nodes that share this process; none if it is a single one."""
        return () if self.node in self.members else tuple(self.members)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a node does not run as asked. It harms no other."""

    node: str
    reason: str
    file: str | None = None
    line: int | None = None

    @property
    def text(self) -> str:
        """Where and why, for those who name the node themselves."""
        where = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        return f"{where}{self.reason}"

    def __str__(self) -> str:
        return f"{self.node}: {self.text}"


@dataclass(frozen=True, slots=True)
class Selection:
    """What ``hm dev`` chose: ``only`` these nodes (empty: all), with or without ``root``, with or without ``nodes``,
    and all of it ``here``, whatever HOSTS says.
    """

    only: tuple[str, ...] = ()
    root: bool = True
    nodes: bool = True
    here: bool = False


@dataclass(frozen=True, slots=True)
class RedisProgram:
    """How the embedded server is started, and the pidfile that others who may have started it write, too."""

    command: tuple[str, ...]
    pidfile: Path
    url: str = ""


def node_plans(
    settings: Settings, enabled: Sequence[EnabledNode], existing: Mapping[str, str], selection: Selection = Selection()
) -> list[NodePlan]:
    """The nodes that should run: the enabled ones, tuned, those with ``target``, and those that ``only`` names.

    ``only`` may name a process that nodes share. Raises ConfigurationError for a name in NODES or in ``only`` that
    nothing enables (it says what to uncomment), for a need that is no topic and that nothing declares, for hosts that
    there are not, and for nodes that share a process and contradict each other.
    """
    tunings, source = settings.constants.NODES, settings.sources.get("NODES", "NODES")
    plans = {node.name: NodePlan(node.name, node.module, node.file, _tuning(tunings, node.name)) for node in enabled}
    for name, tuning in tunings.items():
        if tuning.target is not None:
            plans[name] = NodePlan(name, tuning.target, "", tuning)
        elif name not in plans and name not in selection.only:
            raise _nothing_enables(f"{source}: NODES tunes {name}", name, existing)
    shared = {plan.tuning.process for plan in plans.values()}
    for name in selection.only:
        if name not in plans and name not in shared:
            plans[name] = _not_enabled(settings, name, existing)
    _check_needs(tunings, {*plans, *shared}, existing, source)
    check_wishes(settings)
    found = agreed(list(plans.values()), {*plans, *existing}, source)
    if not selection.nodes:
        return []
    return [plan for plan in found if not selection.only or {plan.name, plan.tuning.process} & {*selection.only}]


def programs(
    settings: Settings,
    nodes: Sequence[NodePlan],
    *,
    scale: Mapping[str, int],
    redis: RedisProgram | None,
    selection: Selection = Selection(),
    code: Mapping[str, str] | None = None,
) -> list[Program]:
    """Every program of the hive, on whatever host it is at home: Redis if it is embedded, the root, and each copy of
    each node, sorted by name.

    ``code`` holds for each node a hash over the files of its code.
    """
    constants, env = settings.as_set, _redis_env(settings, redis)  # a move restarts nobody
    found: list[Program] = []
    if redis is not None:
        found.append(_redis(redis))
    if selection.root:
        found.append(_root(constants, env))
    wanted = processes(nodes)
    ranks = _ranks(wanted)
    for process in wanted:
        rank = NODE_PRIORITY + ranks[process.name]
        for number, home in enumerate(homes_of(constants, process, scale, selection)):
            one = _instance(constants, process, number, rank, env)
            found.append(replace(one, code=_code(process, code or {}), home=home))
    return sorted(found, key=lambda program: (program.priority, program.name))


def _redis_env(settings: Settings, redis: RedisProgram | None) -> dict[str, str]:
    """Where those who run in a hive with a Redis of its own find that: so they wait for it rather than start one."""
    if redis is not None:
        return {"HIVEMIND_REDIS_URL": redis.url}
    found = settings.moved
    return {"HIVEMIND_REDIS_URL": found.own} if found is not None and found.own and not found.was else {}


def homes_of(
    constants: Constants, process: ProcessPlan, scale: Mapping[str, int], selection: Selection = Selection()
) -> list[str]:
    """On which host each copy of a process is at home, by number; "" is each host."""
    replicas = scale.get(process.name, process.replicas)
    if selection.here or not constants.HOSTS:
        return [""] * replicas
    hosts = fitting(process.hosts, constants.HOSTS)
    return homes(process.name, replicas * (len(hosts) if process.per_host else 1), hosts)


def at_home(
    settings: Settings, nodes: Sequence[NodePlan], scale: Mapping[str, int], selection: Selection, host: str
) -> list[NodePlan]:
    """Those of ``nodes`` of which a copy is at home on ``host``, or that have no copy at all."""
    here: list[NodePlan] = []
    for process in processes(nodes):
        found = homes_of(settings.constants, process, scale, selection)
        here += process.members if not found or not {"", host}.isdisjoint(found) else ()
    return here


def stop_wait(stop_timeout: float) -> int:
    """Whole seconds that supervisord waits for a program: what the node takes, then room for the keeper's kill."""
    return math.ceil(stop_timeout) + 2


def _redis(redis: RedisProgram) -> Program:
    digest = _digest([*redis.command])
    return Program(REDIS, "redis", REDIS, redis.command, FIRST, digest, stop_timeout=20.0, pidfile=str(redis.pidfile))


def _root(constants: Constants, env: Mapping[str, str]) -> Program:
    command = (sys.executable, "-m", "hivemind.root")
    digest = _digest([command, dict(env), _values(constants, FOR_HIVED)])
    return Program(ROOT, "root", ROOT, command, ROOT_PRIORITY, digest, env, stop_timeout=constants.STOP_TIMEOUT)


def _instance(
    constants: Constants, process: ProcessPlan, number: int, priority: int, env: Mapping[str, str]
) -> Program:
    command = (sys.executable, "-m", "hivemind.node", *process.targets, "--name", process.name, "--number", str(number))
    env = {**env, **process.env}
    return Program(
        name=f"{process.name}.{number}",
        kind="node",
        node=process.name,
        command=command,
        priority=priority,
        digest=_digest([command, env, process.restart, _values(constants, NOT_FOR_NODES)]),
        env=env,
        restart=process.restart,
        stop_timeout=constants.STOP_TIMEOUT,
        tags=process.tags,
        members={node.name: node.file for node in process.members},
    )


def _code(process: ProcessPlan, code: Mapping[str, str]) -> str:
    hashes = [found for each in process.members if (found := code.get(each.name))]
    return hashes[0] if len(hashes) == 1 else _digest(hashes) if hashes else ""


def _values(constants: Constants, without: Sequence[str]) -> dict[str, object]:
    values = constants.model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in without}


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _tuning(tunings: Mapping[str, NodeTuning], name: str) -> NodeTuning:
    return tunings.get(name) or NodeTuning.model_validate({})


def _not_enabled(settings: Settings, name: str, existing: Mapping[str, str]) -> NodePlan:
    """A node that ``-n`` names although ``nodes/__init__.py`` does not."""
    if name not in existing or settings.hive is None:
        raise _nothing_enables(f"-n {name}", name, existing)
    folder = settings.hive / "nodes"
    nested = folder / name / f"{name}.py"
    module, file = (f"nodes.{name}.{name}", nested) if nested.is_file() else (f"nodes.{name}", folder / f"{name}.py")
    return NodePlan(name, module, str(file), _tuning(settings.constants.NODES, name))


def _nothing_enables(what: str, name: str, existing: Mapping[str, str]) -> ConfigurationError:
    if name in existing:
        return ConfigurationError(f"{what}, but nothing enables it: uncomment `{existing[name]}` in nodes/__init__.py")
    hint = did_you_mean(name, existing)
    return ConfigurationError(f"{what}, but there is no such node{hint}: make it with `hm create_node {name}`")


def _check_needs(
    tunings: Mapping[str, NodeTuning], known: Collection[str], existing: Mapping[str, str], source: str
) -> None:
    """Raise ConfigurationError for a need that can only be a node, and that nobody declares."""
    for name, tuning in tunings.items():
        for need in tuning.needs:
            if topic_of(need) or need in known:
                continue
            if need in existing:
                raise _nothing_enables(f"{source}: {name} needs {need}", need, existing)
            hint = did_you_mean(need, known)
            raise ConfigurationError(
                f"{source}: {name} needs {need}, but there is no such node{hint or '.'} If a topic is meant, write "
                f'"{TOPIC}{need}"'
            )


def _ranks(wanted: Sequence[ProcessPlan]) -> dict[str, int]:
    """How late each process starts: after all that it needs. A ring of needs starts together."""
    where = {node.name: process.name for process in wanted for node in process.members}
    where |= {process.name: process.name for process in wanted}
    needs = {
        process.name: {where[name] for name in process.needs if name in where} - {process.name} for process in wanted
    }
    ranks = dict.fromkeys(needs, 0)
    for _ in needs:  # the longest chain is no longer than the list
        later = {name: max((ranks[other] + 1 for other in found), default=0) for name, found in needs.items()}
        if later == ranks:
            break
        ranks = later
    return ranks
