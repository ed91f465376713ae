"""What flows between each node and each topic or pattern: messages a second, and what is lost. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..data.records import Instance
from .snapshot import InstanceView, view_of

SERVICE, SUBSCRIPTION, RESPONDER = "service", "subscription", "responder"

#: service, subscription or responder; node; topic, pattern or name
Way = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Flow:
    """Messages a second, how many were lost since it began, and how many a second are; None where not known."""

    rate: float | None = None
    lost: int = 0
    losing: float | None = None


NONE = Flow()


def flows_of(instances: Sequence[Instance], seen: Iterable[InstanceView] = ()) -> dict[Way, Flow]:
    """What flows between the nodes that live and what they send, hear and answer; their copies are added. Only those
    that were ``seen`` have rates.
    """
    known = {view.record.instance: view for view in seen}
    found: defaultdict[Way, list[Flow]] = defaultdict(list)
    for each in (one for one in instances if not one.is_lost):
        view, node = known.get(each.instance) or view_of(each), each.node
        for service in view.services:
            found[SERVICE, service.record.member or node, service.record.name].append(Flow(service.rate))
        for other in view.sends:
            found[SERVICE, node, other.record.name].append(Flow(other.rate))
        for one in view.subscriptions:
            way = (SUBSCRIPTION, one.record.member or node, one.record.pattern)
            found[way].append(Flow(one.rate, one.lost, one.losing))
        for asked in view.responders:
            found[RESPONDER, asked.record.member or node, asked.record.name].append(Flow(asked.rate))
    return {way: together(flows) for way, flows in found.items()}


def together(flows: Iterable[Flow]) -> Flow:
    """Several as one."""
    every = list(flows)
    if len(every) == 1:
        return every[0]
    return Flow(added(one.rate for one in every), sum(one.lost for one in every), added(one.losing for one in every))


def added(rates: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
