"""Whether an instance that has just begun is well. Pure: it is told what the registry says."""

from __future__ import annotations

from collections.abc import Iterable

from ..data.records import Instance, Stats
from ..english import amount
from ..states import NodeState, ServiceState

FAILS = 3  # messages on which a handler has failed before that is held against it


def unwell(before: Stats | None, now: Instance) -> str:
    """Why it is not well; "" if nothing is known to be wrong. What was wrong ``before``, too, is not its fault."""
    if now.state not in (NodeState.RUNNING, NodeState.WAITING):  # for whom it waits, is for others to be well
        return f"it is {now.state}"
    fault = next((each.fault for each in now.stats.members if each.fault), "")
    if fault and not any(each.fault for each in (before.members if before else ())):
        return fault
    raising = next((each for each in now.stats.services if each.state == ServiceState.BACKOFF), None)
    if raising is not None and not _raised(before, raising.name):
        return f"its service {raising.name} raises: {raising.error}"
    failing = next((each for each in now.stats.subscriptions if _fails(each.failed + each.invalid, each.handled)), None)
    if failing is not None and not _failed(before, failing.pattern):
        return f"its handler {failing.handler} of {failing.pattern} fails: {failing.error}"
    return ""


def losses(stats: Stats) -> tuple[int, int]:
    """How many messages were missed, and how many dropped."""
    return sum(each.missed for each in stats.subscriptions), sum(each.dropped for each in stats.subscriptions)


def cost(stats: Stats) -> str:
    """What it has done wrong since it began, as counted; "" if nothing."""
    failed = sum(each.failed + each.invalid for each in stats.subscriptions)
    dead = sum(each.dead for each in stats.subscriptions)
    told = [f"handlers failed {amount(failed, 'time')}"] if failed else []
    return " and ".join(
        [*told, f"{amount(dead, 'dead letter')} {'was' if dead == 1 else 'were'} written"] if dead else told
    )


def mine(instances: Iterable[Instance] | None, name: str) -> Instance | None:
    """The instance of that name, if it lives."""
    return next((each for each in instances or () if each.instance == name and not each.is_lost), None)


def _fails(failed: int, handled: int) -> bool:
    return failed >= FAILS and failed > handled


def _raised(before: Stats | None, service: str) -> bool:
    return before is not None and any(each.name == service and each.restarts for each in before.services)


def _failed(before: Stats | None, pattern: str) -> bool:
    return before is not None and any(
        each.pattern == pattern and _fails(each.failed + each.invalid, each.handled) for each in before.subscriptions
    )
