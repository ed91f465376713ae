"""Instances that were lost a while ago and that nobody's configuration waits for, such as a killed `hm run`.

The registry keeps a lost instance for a day. One that should run is a fault for as long as it is not back; one that
was started by hand is a fault for LONG_LOST, then a remark, and where hived runs its node it is forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ..bus.commands import Commands
from ..data.records import Instance
from ..errors import RedisError
from ..topics import Names
from .plan import Plan
from .processes import ROOT_INSTANCE

LONG_LOST = 600.0  # seconds
KEPT = 86400.0  # seconds from its last beat for which the registry knows an incarnation: see bus/lua/renew.lua


async def lost_for(commands: Commands, names: Names, instances: Iterable[Instance]) -> dict[str, float]:
    """Seconds since the last beat of each of ``instances`` that is lost. Raises RedisError."""
    lost = [one.instance for one in instances if one.is_lost]
    replies = await commands.pipeline([("PTTL", names.epoch(name)) for name in lost])
    return {name: _age(reply) for name, reply in zip(lost, replies, strict=True)}


def long_lost(ages: Mapping[str, float], declared: Collection[str]) -> list[str]:
    """Those of the lost that no configuration declares and that have been lost for LONG_LOST."""
    return [name for name, age in ages.items() if name not in declared and age > LONG_LOST]


def extra_copies(plan: Plan, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are copies of a node of this hived beyond those that it runs.

    Others may be declared on another host: they are left to be seen.
    """
    programs = (*plan.programs, *plan.stopped)
    ours, nodes = {ROOT_INSTANCE, *(each.name for each in programs)}, {each.node for each in programs}
    return [name for name in names if name not in ours and name.rpartition(".")[0] in nodes]


def _age(reply: object) -> float:
    if isinstance(reply, RedisError):
        raise reply
    return KEPT - reply / 1000 if isinstance(reply, int) and reply >= 0 else KEPT
