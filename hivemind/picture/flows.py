"""What flows between each node and each topic or pattern: messages a second, and what is lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..data.records import Instance
from .snapshot import InstanceView, lost_by

SERVICE, SUBSCRIPTION, RESPONDER = "service", "subscription", "responder"

#: of each instance the rates of its last beats, by the keys of ``counts_of``
Rates = Mapping[str, Mapping[str, float]]
#: service, subscription or responder; node; topic, pattern or name
Way = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Flow:
    """Messages a second, how many were lost since it began, and how many a second are; None where not known."""

    rate: float | None = None
    lost: int = 0
    losing: float | None = None


NONE = Flow()


def rates_of(views: Iterable[InstanceView]) -> dict[str, dict[str, float]]:
    """The rates that are known."""
    found: dict[str, dict[str, float]] = {}
    for view in views:
        sent = {f"service/{at}/{one.record.name}": one.rate for at, one in enumerate(view.services)}
        got = {f"subscription/{at}/{one.record.pattern}": one.rate for at, one in enumerate(view.subscriptions)}
        lost = {f"lost/{at}/{one.record.pattern}": one.losing for at, one in enumerate(view.subscriptions)}
        asked = {f"responder/{at}/{one.record.name}": one.rate for at, one in enumerate(view.responders)}
        also = {f"sends/{one.record.name}": one.rate for one in view.sends}
        every = {**sent, **also, **got, **lost, **asked}
        found[view.record.instance] = {key: rate for key, rate in every.items() if rate is not None}
    return found


def flows_of(instances: Sequence[Instance], rates: Rates) -> dict[Way, Flow]:
    """What flows between the nodes that live and what they send, hear and answer; their copies are added."""
    found: dict[Way, Flow] = {}

    def add(way: Way, flow: Flow) -> None:
        found[way] = together((found[way], flow)) if way in found else flow

    for each in (one for one in instances if not one.is_lost):
        known, node = rates.get(each.instance, {}), each.node
        for at, service in enumerate(each.stats.services):
            add((SERVICE, service.member or node, service.name), Flow(known.get(f"service/{at}/{service.name}")))
        for other in each.stats.sends:
            add((SERVICE, node, other.name), Flow(known.get(f"sends/{other.name}")))
        for at, one in enumerate(each.stats.subscriptions):
            rate, losing = known.get(f"subscription/{at}/{one.pattern}"), known.get(f"lost/{at}/{one.pattern}")
            add((SUBSCRIPTION, one.member or node, one.pattern), Flow(rate, lost_by(one), losing))
        for at, asked in enumerate(each.stats.responders):
            add((RESPONDER, asked.member or node, asked.name), Flow(known.get(f"responder/{at}/{asked.name}")))
    return found


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
