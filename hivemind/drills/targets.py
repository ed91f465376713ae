"""What TARGET means: which instances of this machine are hit."""

from __future__ import annotations

from collections.abc import Sequence

from ..constants import did_you_mean
from ..data.records import Instance
from ..english import listed
from ..errors import SupervisorError
from ..supervisor.topology import Program
from .probe import PREFIX
from .site import ALL


class NoSuchTarget(SupervisorError):
    """Nothing that runs is called so."""


def meant(target: str, programs: Sequence[Program], instances: Sequence[Instance]) -> list[Instance]:
    """The living instances that ``target`` names: a node, an instance, @tag, @all. Raises NoSuchTarget, if there are
    none, and SupervisorError, if one runs elsewhere.
    """
    tagged = {one.name for one in programs if target[1:] in one.tags} if target.startswith("@") else set()
    nodes = {one.name for one in programs if one.kind == "node"}
    found = [
        one
        for one in instances
        if not one.is_lost
        and not one.node.startswith(PREFIX)
        and (target in (one.node, one.instance) or one.instance in tagged or (target == ALL and one.instance in nodes))
    ]
    if not found:
        there = sorted({one.node for one in instances if not one.is_lost and not one.node.startswith(PREFIX)})
        hint = did_you_mean(target, there) or ";"
        raise NoSuchTarget(f"nothing that runs is called {target}{hint} what runs: {listed(there) or 'nothing'}")
    away = [one for one in found if one.about.process is None or not one.about.process.is_alive()]
    if away:
        first = away[0]
        raise SupervisorError(f"{first.instance} runs on {first.about.host}: type it there")
    return found


def half(instances: Sequence[Instance]) -> list[Instance]:
    """Every other one, the first among them."""
    return sorted(instances, key=lambda one: one.instance)[::2]
