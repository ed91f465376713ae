"""What fails now, and what went wrong of late, in clauses. Pure.

A service or a handler that fails now and then is no less ill between two failures: what counts is the last minute. And
what was lost is a remark for an hour; after that it stands where all is counted (`hm why`, the pages, `/metrics`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..data.records import HOUR, Instance, ResponderRecord, ServiceRecord, SubscriptionRecord
from ..english import MOST, amount, listed
from ..states import ServiceState
from ..supervisor.health import FAILS
from . import remedies
from .faults import short

Told = dict[str, str]  #: clauses, each with what to do about it, "" where it says so itself
AGAIN = 2  #: failures of a service in a minute from which on it fails, also while it runs
LATE = " in the last hour"
BEGAN = " since the nodes began"  #: where all began within the hour: what ran before took its counts along
MIXED = f"{LATE}, by those that run now"  #: where some did
_COUNTS = (
    ("missed", "missed"),
    ("dropped", "dropped"),
    ("failed in a handler", "failed"),
    ("invalid", "invalid"),
    ("malformed", "malformed"),
    ("parked for another try", "parked"),
    ("dead-lettered", "dead"),
    ("lost by a stream", "lost"),
)
_NOW = ("parked",)  #: what is so now, and not a total


def failing(alive: Sequence[Instance]) -> Told:
    """Services and handlers that fail, each with what to do."""
    found = ((one, clause) for one in alive for clause in _failing(one, f" of {one.instance}"))
    return {clause: remedies.FAILING.format(name=one.instance) for one, clause in found}


def fails_in(instance: Instance) -> list[str]:
    """The same of one instance, which is not named."""
    return list(_failing(instance, ""))


def went_wrong(alive: Sequence[Instance]) -> Told:
    """What became of messages, requests and log lines that should not have, each with where to look: who has the most
    of it. Of those that say when, what is of the last hour.
    """
    found = {
        f"service {one.name} of {each.instance} failed once in the last minute{_why(one.error)}": (
            remedies.FAILING.format(name=each.instance)
        )
        for each in alive
        for one in each.stats.services
        if one.failed_lately and not _fails(one)
    }
    for what, name in _COUNTS:
        by = {one.instance: [(_of(each, name)) for each in one.stats.subscriptions] for one in alive}
        if total := sum(map(sum, by.values())):
            worst = max(by, key=lambda one: sum(by[one]))
            late = "" if name in _NOW else _late([one for one in alive if one.stats.subscriptions])
            found[f"{amount(total, 'message')} {what}{late}"] = remedies.COUNTS[what].format(name=worst)
    for each in alive:
        if unsent := _common(each, "unsent"):
            found[f"{amount(unsent, 'message')} of {each.instance} never left it"] = remedies.UNSENT.format(
                name=each.instance
            )
    raised = {one.instance: sum(_of(each, "failed") for each in one.stats.responders) for one in alive}
    if failed := sum(raised.values()):
        late = _late([one for one in alive if one.stats.responders])
        name = max(raised, key=lambda one: raised[one])
        found[f"{amount(failed, 'request')} failed in a responder{late}"] = remedies.FAILING.format(name=name)
    if lost := [one for one in alive if _common(one, "log_lost")]:
        lines = amount(sum(_common(one, "log_lost") for one in lost), "line")
        found[f"{lines} of the logs of {listed([one.instance for one in lost])} could not be written"] = remedies.LOGS
    return found


def counted(instance: Instance) -> list[str]:
    """What one instance has counted of messages that should be 0, since it began."""
    sums = ((what, sum(getattr(each, name) for each in instance.stats.subscriptions)) for what, name in _COUNTS)
    found = [f"{total:,} {what}" for what, total in sums if total]
    return [*found, f"{instance.stats.unsent:,} that never left it"] if instance.stats.unsent else found


def some(told: Told, more: str) -> Told:
    """The first few; how many ``more`` there are."""
    first = dict(list(told.items())[:MOST])
    return first if len(told) <= MOST else {**first, f"{len(told) - MOST} {more}": ""}


def _failing(one: Instance, whose: str) -> Iterator[str]:
    for service in one.stats.services:
        if _fails(service):
            times = service.failed_lately
            how = f"failed {times:,} times in the last minute" if times >= AGAIN else "fails"
            yield f"service {service.name}{whose} {how}{_why(service.error)}"
    handlers: list[SubscriptionRecord | ResponderRecord] = [*one.stats.subscriptions, *one.stats.responders]
    for each in handlers:
        if each.failed_lately >= FAILS and each.failed_lately > each.handled_lately:
            returned = amount(each.handled_lately, "time")
            how = f"failed {each.failed_lately:,} times in the last minute, and returned {returned}"
            yield f"handler {each.handler}{whose} {how}{_why(each.error)}"


def _fails(service: ServiceRecord) -> bool:
    return service.state == ServiceState.BACKOFF or service.failed_lately >= AGAIN


def _why(error: str) -> str:
    return f": {short(error)}" if error else ""


def _of(one: SubscriptionRecord | ResponderRecord, name: str) -> int:
    """How much of a count is of the last hour, or all of it where that is not known."""
    known: int = getattr(one, name) if name in _NOW or one.lately is None else one.lately.get(name, 0)
    return known


def _late(counting: Sequence[Instance]) -> str:
    """Since when those have counted, who know what is of the last hour; "" if some do not."""
    records = [each.lately for one in counting for each in one.stats.subscriptions]
    records += [each.lately for one in counting for each in one.stats.responders]
    if None in records:
        return ""
    young = sum(map(_is_young, counting))
    return LATE if not young else BEGAN if young == len(counting) else MIXED


def _is_young(one: Instance) -> bool:
    """Whether it began less than an hour before its last beat."""
    return one.expires is not None and one.expires - one.about.lease - one.about.started < HOUR


def _common(one: Instance, name: str) -> int:
    known: int = getattr(one.stats, name) if one.stats.lately is None else one.stats.lately.get(name, 0)
    return known
