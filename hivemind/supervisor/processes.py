"""Which nodes share a process, and what then holds for it: pure.

Each node is a process of its own, unless ``NODES`` gives it a ``process``: nodes with the same name there run together
in one, which is started, stopped and copied as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import ConfigurationError
from ..settings import NodeTuning

REDIS, ROOT = "redis", "root"
ROOT_INSTANCE = f"{ROOT}.0"  # what the root registers as; its program has no number
TAKEN = frozenset({"hived", REDIS, ROOT})  # programs that a hive has without being asked
Restart = Literal["always", "on-failure", "never"]


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node that should run: its code, and how."""

    name: str
    target: str
    file: str
    tuning: NodeTuning


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One process that should run, in one or more copies: a single node, or the ``members`` that share it."""

    name: str
    members: tuple[NodePlan, ...]

    @property
    def replicas(self) -> int:
        """How many copies, on which all members agree."""
        return self.members[0].tuning.replicas

    @property
    def env(self) -> Mapping[str, str]:
        """Its environment: ``agreed`` gives each member that of all."""
        return self.members[0].tuning.env

    @property
    def restart(self) -> Restart:
        """When it is started again, on which all members agree."""
        return self.members[0].tuning.restart

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts that it asks for, on which all members agree; none: any."""
        return self.members[0].tuning.hosts

    @property
    def per_host(self) -> bool:
        """Whether there are so many copies on each host, on which all members agree."""
        return self.members[0].tuning.per_host

    @property
    def targets(self) -> tuple[str, ...]:
        """What ``python -m hivemind.node`` is to run."""
        if self.members[0].tuning.process:
            return tuple(f"{each.name}={each.target}" for each in self.members)
        return (self.members[0].target,)

    @property
    def needs(self) -> frozenset[str]:
        """What any member needs."""
        return frozenset().union(*(each.tuning.needs for each in self.members))

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of all members."""
        return tuple(dict.fromkeys(tag for each in self.members for tag in each.tuning.tags))


def processes(nodes: Sequence[NodePlan]) -> list[ProcessPlan]:
    """Put those together that share a process; in the order of the first member of each."""
    found: dict[str, list[NodePlan]] = {}
    for node in nodes:
        found.setdefault(node.tuning.process or node.name, []).append(node)
    return [ProcessPlan(name, tuple(members)) for name, members in found.items()]


def agreed(nodes: Sequence[NodePlan], names: Collection[str], source: str) -> list[NodePlan]:
    """The same nodes, those that share a process with the environment of all of them.

    ``names`` are all nodes that the hive has, also those that do not run. Raises ConfigurationError, which begins with
    ``source``, the file and line of NODES, when members contradict each other, or when a process is called like a node
    or like a program of hived's own.
    """
    found: dict[str, dict[str, str]] = {}
    for process in processes(nodes):
        if any(each.tuning.process for each in process.members):  # not all, if it is called like one of them
            _check_name(process, names, source)
            for setting in ("replicas", "restart", "hosts", "per_host"):
                _check_same(process, setting, source)
            found |= dict.fromkeys((each.name for each in process.members), _merged_env(process, source))
    return [_with_env(node, found[node.name]) if node.name in found else node for node in nodes]


def _check_name(process: ProcessPlan, names: Collection[str], source: str) -> None:
    if process.name in names or process.name in TAKEN:
        what = "a node" if process.name in names else "a program of hived's own"
        first = next(each.name for each in process.members if each.tuning.process)
        raise ConfigurationError(
            f"{source}: the process of {first} is called {process.name}, but so is {what}: rename it"
        )


def _check_same(process: ProcessPlan, setting: str, source: str) -> None:
    first = process.members[0]
    mine = getattr(first.tuning, setting)
    for other in process.members[1:]:
        if (theirs := getattr(other.tuning, setting)) != mine:
            raise ConfigurationError(
                f"{_sharing(first, other, source)}: {setting} is {mine!r} for {first.name} and {theirs!r} for "
                f"{other.name}; write the same for both"
            )


def _merged_env(process: ProcessPlan, source: str) -> dict[str, str]:
    env: dict[str, tuple[NodePlan, str]] = {}
    for node in process.members:
        for name, value in node.tuning.env.items():
            before, theirs = env.setdefault(name, (node, value))
            if theirs != value:
                raise ConfigurationError(
                    f"{_sharing(before, node, source)}: both set {name} in env, to different values"
                )
    return {name: value for name, (_, value) in env.items()}


def _sharing(first: NodePlan, other: NodePlan, source: str) -> str:
    return f"{source}: {first.name} and {other.name} share the process {first.tuning.process}"


def _with_env(node: NodePlan, env: dict[str, str]) -> NodePlan:
    return replace(node, tuning=node.tuning.model_copy(update={"env": env}))
