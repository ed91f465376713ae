"""What can be done to what, and what `hm drill all` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..bus.endpoint import Endpoint
from ..errors import SupervisorError
from ..settings import Settings
from .disk import FillDisk
from .faults import Fault, MakeFault, Scene
from .freezes import FreezeHived, FreezeNode, FreezeProbe, FreezeRedis, FreezeRoot, FreezeSupervisord, SlowRedis
from .kills import KillHived, KillNode, KillProbe, KillRedis, KillRoot, KillSupervisord
from .moves import Failover
from .redis_faults import Cut, Fill, Flush, Storm
from .site import ALL

Done = tuple[str, str]  #: a verb and a target

OWN: Mapping[Done, MakeFault] = {
    ("kill", "root"): KillRoot,
    ("kill", "probe"): KillProbe,
    ("kill", "hived"): KillHived,
    ("kill", "supervisord"): KillSupervisord,
    ("kill", "redis"): KillRedis,
    ("freeze", "root"): FreezeRoot,
    ("freeze", "probe"): FreezeProbe,
    ("freeze", "hived"): FreezeHived,
    ("freeze", "supervisord"): FreezeSupervisord,
    ("freeze", "redis"): FreezeRedis,
    ("slow", "redis"): SlowRedis,
    ("flush", "redis"): Flush,
    ("fill", "redis"): Fill,
    ("fill", "disk"): FillDisk,
    ("failover", "redis"): Failover,
    ("storm", ALL): Storm,
}
OF_NODES: Mapping[str, MakeFault] = {"kill": KillNode, "freeze": FreezeNode, "cut": Cut}
#: the targets that need not be named
USUAL: Mapping[str, str] = {"slow": "redis", "flush": "redis", "fill": "redis", "failover": "redis", "storm": ALL}

NODE = "node"  #: stands for the instance that is hit
QUICK: tuple[Done, ...] = (
    ("kill", NODE),
    ("freeze", NODE),
    ("kill", "probe"),
    ("kill", "hived"),
    ("kill", "supervisord"),
    ("kill", "redis"),
    ("cut", "redis"),
)
FLUSH: tuple[Done, ...] = (("flush", "redis"),)  #: what loses all that a hive keeps
LONG: tuple[Done, ...] = (
    ("kill", "root"),
    ("freeze", "root"),
    ("freeze", "probe"),
    ("freeze", "hived"),
    ("freeze", "supervisord"),
    ("freeze", "redis"),
    ("slow", "redis"),
    ("fill", "redis"),
    ("failover", "redis"),
    ("cut", NODE),
    ("storm", ALL),
)


class Where(StrEnum):
    """What Redis a hive has: its own, one that others may use, or one with replicas."""

    OWN = "own"
    OTHER = "other"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_THEIRS: frozenset[Done] = frozenset({("kill", "redis"), ("freeze", "redis"), ("slow", "redis"), ("fill", "redis")})
_MOVES: frozenset[Done] = frozenset({("failover", "redis")})
NOT_AT: Mapping[Where, frozenset[Done]] = {  # others may use that Redis, or nobody can replace it
    Where.OWN: _MOVES,
    Where.OTHER: _THEIRS | _MOVES,
    Where.SENTINEL: _THEIRS,
    Where.CLUSTER: _THEIRS,
}


def where(settings: Settings) -> Where:
    """What Redis the hive with these settings has."""
    if not settings.redis_url:
        return Where.OWN
    endpoint = Endpoint.parse(settings.redis_url)
    if endpoint.is_cluster:
        return Where.CLUSTER
    return Where.SENTINEL if endpoint.is_sentinel else Where.OTHER


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be done to what."""

    verb: str
    target: str

    def make(self, scene: Scene) -> Fault:
        """The fault. Raises SupervisorError where that cannot be done to that."""
        made = OWN.get((self.verb, self.target)) or OF_NODES.get(self.verb)
        if made is None:
            known = ", ".join(sorted({target for verb, target in OWN if verb == self.verb}))
            raise SupervisorError(f"{self.verb} is not for {self.target}, but for {known}")
        return made(scene, self.target)


def every(node: str, at: Where, *, is_quick: bool, with_flush: bool = False) -> list[Chosen]:
    """What `hm drill all` does, in order; ``node`` is the instance that is hit. A Redis that is not the hive's own is
    not killed, frozen, slowed or filled: others may use it. What a hive keeps is lost only ``with_flush``.
    """
    found = (*QUICK, *(FLUSH if with_flush else ()), *(() if is_quick else LONG))
    return [
        Chosen(verb, node if target == NODE else target) for verb, target in found if (verb, target) not in NOT_AT[at]
    ]
