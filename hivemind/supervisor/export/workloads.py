"""What of a hive another engine is to run: a workload for each process, with what it is given. Pure.

No secret is in here: of a variable whose value is one there is only the name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...constants import masked
from ...errors import HiveNotFound
from ...settings import Settings
from ..processes import ROOT, NodePlan, ProcessPlan, Restart, processes
from ..topology import stop_wait

REDIS_VARIABLE = "HIVEMIND_REDIS_URL"
PROBE_FILE = "/dev/shm/hivemind-probe"  # memory that every container has of its own
NOT_CARRIED = ("REDIS_URL", "LOG_LOCATION")  # the one by reference; the others log to the engine
ALIVE = ("-P", "-m", "hivemind.probe", "alive")
READY = ("-P", "-m", "hivemind.probe", "ready")
PROBE_TIMEOUT = 5  # seconds: a container that may use a tenth of a core needs one for Python's own start
STARTING = 120  # seconds until a process has imported what it needs, and its loop turns


@dataclass(frozen=True, slots=True)
class Workload:
    """A process of the hive in so many ``copies``: what its Python is to run, and in which environment.

    ``hidden`` are the variables whose values must not be written. The copies are told apart by their numbers: of
    ``arguments`` one option is missing, ``--number`` with the number, or ``--of`` with how many there are (``any_of``).
    """

    name: str
    arguments: tuple[str, ...]
    copies: int = 1
    restart: Restart = "always"
    env: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    @property
    def is_root(self) -> bool:
        """Whether it is the hive's root, which has no number."""
        return self.name == ROOT

    @property
    def any_of(self) -> tuple[str, ...]:
        """What Python runs where all copies are started alike: each takes a number that is free."""
        return self.arguments if self.is_root else (*self.arguments, "--of", str(max(1, self.copies)))


@dataclass(frozen=True, slots=True)
class Hive:
    """A hive and its workloads, as other engines see it."""

    settings: Settings
    workloads: tuple[Workload, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.name

    @property
    def folder(self) -> Path:
        """Where its files are. Raises HiveNotFound outside a hive."""
        if self.settings.hive is None:
            raise HiveNotFound("only a hive can be exported: cd into one, or use --hive; `hm new NAME` makes one")
        return self.settings.hive

    @property
    def has_own_redis(self) -> bool:
        """Whether its Redis is the embedded one."""
        return not self.settings.redis_url

    @property
    def grace(self) -> int:
        """Seconds from the signal to stop to the one that kills, as under hived."""
        return stop_wait(self.settings.constants.STOP_TIMEOUT)


def hive_of(settings: Settings, nodes: Sequence[NodePlan], scale: Mapping[str, int]) -> Hive:
    """What of the hive is to run: its ``nodes``, in as many copies as ``scale`` says, else NODES, and the root."""
    carried, hidden = _apart(_from_outside(settings))
    root = Workload(ROOT, ("-m", "hivemind.root"), env=carried, hidden=hidden)
    found = [_workload(process, scale, carried, hidden) for process in processes(nodes)]
    return Hive(settings, (root, *sorted(found, key=lambda each: each.name)))


def _workload(
    process: ProcessPlan, scale: Mapping[str, int], carried: Mapping[str, str], hidden: Sequence[str]
) -> Workload:
    env, own = _apart(process.env)
    return Workload(
        process.name,
        ("-m", "hivemind.node", *process.targets, "--name", process.name),
        scale.get(process.name, process.replicas),
        process.restart,
        {**carried, **env},
        tuple(sorted({*hidden, *own})),
    )


def _apart(env: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What may be written, and the names of what may not."""
    hidden = tuple(sorted(name for name, value in env.items() if is_hidden(name, value)))
    return {name: value for name, value in env.items() if name not in hidden}, hidden


def is_hidden(name: str, value: Any) -> bool:
    """Whether nobody may see the value of this variable, or a part of it."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            value = json.loads(value)
    return bool(masked(value, name) != value)


def _from_outside(settings: Settings) -> dict[str, str]:
    """The settings that are not in the hive's own file, as variables: the other engine does not know them otherwise."""
    values = settings.constants.model_dump(mode="json")
    return {
        f"HIVEMIND_{name}": value if isinstance(value := values[name], str) else json.dumps(value)
        for name, source in sorted(settings.sources.items())
        if source.startswith(("environment ", "HIVE_SETTINGS:")) and name not in NOT_CARRIED
    }
