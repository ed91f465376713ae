"""Nodes that share a process, as the commands show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..data.records import Instance, MemberRecord
from ..settings import Settings


def process_of(node: str, settings: Settings, instances: Sequence[Instance] = ()) -> str:
    """The process that ``node`` shares with others, by the settings, else by who runs; "" if it has its own."""
    tuning = settings.constants.NODES.get(node)
    if tuning is not None and tuning.process:
        return tuning.process
    return next((one.node for one in instances if any(each.name == node for each in one.stats.members)), "")


def members_of(process: str, settings: Settings, instances: Sequence[Instance] = ()) -> list[str]:
    """The nodes that share ``process``: those of the settings, and those that run in it."""
    tuned = [name for name, tuning in settings.constants.NODES.items() if tuning.process == process]
    running = [each.name for one in instances if one.node == process for each in one.stats.members]
    return list(dict.fromkeys([*tuned, *running]))


def part_of(instance: Instance, member: MemberRecord) -> Instance:
    """What of ``instance`` is one member's own: its state, services, subscriptions and responders."""
    stats = instance.stats
    mine = replace(
        stats,
        state=member.state,
        services=tuple(one for one in stats.services if one.member == member.name),
        subscriptions=tuple(one for one in stats.subscriptions if one.member == member.name),
        responders=tuple(one for one in stats.responders if one.member == member.name),
        members=(member,),
        sends=(),
    )
    return replace(instance, stats=mine)


def common_of(instance: Instance) -> Instance:
    """What of ``instance`` is no member's own: all of it, if nobody shares it."""
    stats = instance.stats
    if not stats.members:
        return instance
    ours = replace(
        stats,
        services=tuple(one for one in stats.services if not one.member),
        subscriptions=tuple(one for one in stats.subscriptions if not one.member),
        responders=tuple(one for one in stats.responders if not one.member),
        members=(),
    )
    return replace(instance, stats=ours)
