"""The hive at one moment, as values: instances with their rates, nodes, durable delivery, and how well all of it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from ..data.histogram import Packed, growth, quantile
from ..data.records import Instance, ResponderRecord, SentRecord, ServiceRecord, SubscriptionRecord
from .durable import DurableView
from .health import Health, judge
from .past import Past
from .state import State

Counts = Mapping[str, int]
"""What one instance counted up to one beat: a total for each key of ``counts_of``."""
Measures = Mapping[str, tuple[Packed, Packed]]
"""What one instance measured up to one beat: times and delays for each key of ``measures_of``."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long handling took of late, in seconds, and how long it took from sending to the handler: half of all, and 99
    of 100. None where nothing was handled of late.
    """

    p50: float | None = None
    p99: float | None = None
    delay_p50: float | None = None
    delay_p99: float | None = None


NO_PACE = Pace()


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service and how many messages a second it sends; ``rate`` is None until two beats are known."""

    record: ServiceRecord
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class SentView:
    """A topic that is none of the instance's services, and how many messages a second it sends there; ``rate`` is None
    until two beats are known.
    """

    record: SentRecord
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A subscription and how many messages a second reach it, and how many it loses (``losing``); both are None until
    two beats are known. Its other numbers are those of ``Pace``.
    """

    record: SubscriptionRecord
    rate: float | None = None
    p50: float | None = None
    p99: float | None = None
    delay_p50: float | None = None
    delay_p99: float | None = None
    losing: float | None = None

    @property
    def lost(self) -> int:
        """How many messages never reached the handler: see ``lost_by``."""
        return lost_by(self.record)


@dataclass(frozen=True, slots=True)
class ResponderView:
    """A responder and how many requests a second reach it; ``rate`` is None until two beats are known.

    Its other numbers are those of ``Pace``.
    """

    record: ResponderRecord
    rate: float | None = None
    p50: float | None = None
    p99: float | None = None
    delay_p50: float | None = None
    delay_p99: float | None = None


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as it is shown. ``seen`` is its last beat in unix seconds, None when it was never seen alive."""

    record: Instance
    seen: float | None
    services: tuple[ServiceView, ...]
    subscriptions: tuple[SubscriptionView, ...]
    responders: tuple[ResponderView, ...] = ()
    sends: tuple[SentView, ...] = ()

    @property
    def sending(self) -> tuple[ServiceView | SentView, ...]:
        """All that it sends: its services, and what it sends beside them."""
        return (*self.services, *self.sends)

    def to_json(self) -> dict[str, Any]:
        """The registry's own fields, with ``seen``, and a ``rate`` for each service, subscription, responder, and topic
        that it sends on beside its services; for subscriptions and responders also the numbers of ``Pace``.
        """
        return {
            **self.record.to_json(),
            "seen": self.seen,
            "services": [_flat(view) for view in self.services],
            "subscriptions": [_flat(view) for view in self.subscriptions],
            "responders": [_flat(view) for view in self.responders],
            "sends": [_flat(view) for view in self.sends],
        }


@dataclass(frozen=True, slots=True)
class NodeView:
    """All instances of one node, lowest number first."""

    name: str
    instances: tuple[InstanceView, ...]


@dataclass(frozen=True)
class Snapshot:
    """The hive at one moment.

    ``read_at`` is when Redis last answered, in unix seconds by this machine's clock (None: not yet, and ``why`` if that
    is known); ``silent_since`` is since when it does not answer (None: it does). While it is silent ``nodes`` is what
    was last known. ``past`` is empty where nobody watches.
    """

    hive: str
    redis: str
    read_at: float | None = None
    silent_since: float | None = None
    nodes: tuple[NodeView, ...] = ()
    durable: DurableView = field(default_factory=DurableView)
    state: State = field(default_factory=State)
    why: str = ""
    past: Past = field(default_factory=Past)

    @cached_property
    def instances(self) -> tuple[InstanceView, ...]:
        """Every instance of every node."""
        return tuple(view for node in self.nodes for view in node.instances)

    @cached_property
    def health(self) -> Health:
        """How well the hive is."""
        if self.silent_since is not None:
            return Health(self.hive, 0, 0, unseen="Redis does not answer; this is what was last known")
        if self.read_at is None:
            return Health(self.hive, 0, 0, unseen=self.why or "Redis has not answered yet")
        return judge(self.hive, [view.record for view in self.instances], self.state).and_of(self.durable)

    def to_json(self, nodes: Sequence[NodeView]) -> dict[str, Any]:
        """What ``/api/nodes`` answers of ``nodes``; stable names, times in unix seconds, rates in messages a second."""
        health = self.health
        return {
            "hive": self.hive,
            "redis": self.redis,
            "read_at": self.read_at,
            "silent_since": self.silent_since,
            "health": {"level": health.level.value, "sentence": f"{health.sentence}.", "todo": dict(health.todo)},
            "nodes": [{"node": node.name, "instances": [view.to_json() for view in node.instances]} for node in nodes],
        }


def counts_of(instance: Instance) -> dict[str, int]:
    """The totals from which rates are made: what was sent, by each service and beside them, what reached each
    subscription and responder, and what did not reach a subscription's handler.
    """
    sent = {f"service/{at}/{one.name}": one.sent for at, one in enumerate(instance.stats.services)}
    also = {f"sends/{one.name}": one.sent for one in instance.stats.sends}
    got = {f"subscription/{at}/{one.pattern}": one.received for at, one in enumerate(instance.stats.subscriptions)}
    asked = {f"responder/{at}/{one.name}": one.received for at, one in enumerate(instance.stats.responders)}
    lost = {f"lost/{at}/{one.pattern}": lost_by(one) for at, one in enumerate(instance.stats.subscriptions)}
    return {**sent, **also, **got, **asked, **lost}


def lost_by(one: SubscriptionRecord) -> int:
    """How many messages reached no handler: missed on the way, dropped at a full inbox, or lost by a stream."""
    return one.missed + one.dropped + one.lost


def measures_of(instance: Instance) -> dict[str, tuple[Packed, Packed]]:
    """The times and delays of each subscription and responder that has any; keys as of ``counts_of``."""
    hears = ((f"subscription/{at}/{one.pattern}", one) for at, one in enumerate(instance.stats.subscriptions))
    answers = ((f"responder/{at}/{one.name}", one) for at, one in enumerate(instance.stats.responders))
    both: list[tuple[str, SubscriptionRecord | ResponderRecord]] = [*hears, *answers]
    return {key: (one.times, one.delays) for key, one in both if one.times or one.delays}


def pace_between(older: tuple[Packed, Packed], newer: tuple[Packed, Packed]) -> Pace:
    """What was measured between two beats."""
    times, delays = growth(older[0], newer[0]), growth(older[1], newer[1])
    return Pace(quantile(times, 0.5), quantile(times, 0.99), quantile(delays, 0.5), quantile(delays, 0.99))


def view_of(
    instance: Instance, seen: float | None, rates: Mapping[str, float], paces: Mapping[str, Pace] | None = None
) -> InstanceView:
    """Join an instance with its rates and paces, which have the keys of ``counts_of``; a missing one is None."""
    known = paces or {}
    stats = instance.stats

    def joined(kind: type[Any], key: str, record: object) -> Any:
        pace = known.get(key, NO_PACE)
        return kind(record, rates.get(key), pace.p50, pace.p99, pace.delay_p50, pace.delay_p99)

    return InstanceView(
        record=instance,
        seen=seen,
        services=tuple(
            ServiceView(one, rates.get(f"service/{at}/{one.name}")) for at, one in enumerate(stats.services)
        ),
        subscriptions=tuple(
            replace(
                joined(SubscriptionView, f"subscription/{at}/{one.pattern}", one),
                losing=rates.get(f"lost/{at}/{one.pattern}"),
            )
            for at, one in enumerate(stats.subscriptions)
        ),
        responders=tuple(
            joined(ResponderView, f"responder/{at}/{one.name}", one) for at, one in enumerate(stats.responders)
        ),
        sends=tuple(SentView(one, rates.get(f"sends/{one.name}")) for one in stats.sends),
    )


def _flat(view: ServiceView | SentView | SubscriptionView | ResponderView) -> dict[str, Any]:
    found = asdict(view)
    record: dict[str, Any] = found.pop("record")
    return {**record, **found}


def nodes_of(views: Iterable[InstanceView]) -> tuple[NodeView, ...]:
    """Group instances by their node, nodes by name and instances by number; ``root`` comes last."""
    ordered = sorted(views, key=lambda view: place_of(view.record.node, view.record.number))
    groups = groupby(ordered, key=lambda view: view.record.node)
    return tuple(NodeView(name, tuple(members)) for name, members in groups)


def place_of(node: str, number: int) -> tuple[bool, str, int]:
    """What instances are sorted by."""
    return node == "root", node, number
