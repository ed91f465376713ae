"""The hive at one moment, as values: instances with their rates, nodes, durable delivery, and how well all of it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from ..data.records import Instance, ResponderRecord, ServiceRecord, SubscriptionRecord
from .durable import DurableView
from .health import Health, judge
from .state import State

Counts = Mapping[str, int]
"""What one instance counted up to one beat: a total for each key of ``counts_of``."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service and how many messages a second it sends; ``rate`` is None until two beats are known."""

    record: ServiceRecord
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A subscription and how many messages a second reach it; ``rate`` is None until two beats are known."""

    record: SubscriptionRecord
    rate: float | None = None

    @property
    def lost(self) -> int:
        """How many messages never reached the handler: missed on the way, or dropped at a full inbox."""
        return self.record.missed + self.record.dropped


@dataclass(frozen=True, slots=True)
class ResponderView:
    """A responder and how many requests a second reach it; ``rate`` is None until two beats are known."""

    record: ResponderRecord
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as it is shown. ``seen`` is its last beat in unix seconds, None when it was never seen alive."""

    record: Instance
    seen: float | None
    services: tuple[ServiceView, ...]
    subscriptions: tuple[SubscriptionView, ...]
    responders: tuple[ResponderView, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The registry's own fields, with ``seen``, and a ``rate`` for each service, subscription and responder."""
        return {
            **self.record.to_json(),
            "seen": self.seen,
            "services": [{**asdict(view.record), "rate": view.rate} for view in self.services],
            "subscriptions": [{**asdict(view.record), "rate": view.rate} for view in self.subscriptions],
            "responders": [{**asdict(view.record), "rate": view.rate} for view in self.responders],
        }


@dataclass(frozen=True, slots=True)
class NodeView:
    """All instances of one node, lowest number first."""

    name: str
    instances: tuple[InstanceView, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The hive at one moment.

    ``read_at`` is when Redis last answered, in unix seconds by this machine's clock (None: not yet, and ``why`` if that
    is known); ``silent_since`` is since when it does not answer (None: it does). While it is silent ``nodes`` is what
    was last known.
    """

    hive: str
    redis: str
    read_at: float | None = None
    silent_since: float | None = None
    nodes: tuple[NodeView, ...] = ()
    durable: DurableView = field(default_factory=DurableView)
    state: State = field(default_factory=State)
    why: str = ""

    @property
    def instances(self) -> tuple[InstanceView, ...]:
        """Every instance of every node."""
        return tuple(view for node in self.nodes for view in node.instances)

    @property
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
            "health": {"level": health.level.value, "sentence": f"{health.sentence}."},
            "nodes": [{"node": node.name, "instances": [view.to_json() for view in node.instances]} for node in nodes],
        }


def counts_of(instance: Instance) -> dict[str, int]:
    """The totals from which rates are made: what each service sent and what reached each subscription and
    responder.
    """
    sent = {f"service/{at}/{one.name}": one.sent for at, one in enumerate(instance.stats.services)}
    got = {f"subscription/{at}/{one.pattern}": one.received for at, one in enumerate(instance.stats.subscriptions)}
    asked = {f"responder/{at}/{one.name}": one.received for at, one in enumerate(instance.stats.responders)}
    return {**sent, **got, **asked}


def view_of(instance: Instance, seen: float | None, rates: Mapping[str, float]) -> InstanceView:
    """Join an instance with its rates, which have the keys of ``counts_of``; a missing one is None."""
    return InstanceView(
        record=instance,
        seen=seen,
        services=tuple(
            ServiceView(one, rates.get(f"service/{at}/{one.name}")) for at, one in enumerate(instance.stats.services)
        ),
        subscriptions=tuple(
            SubscriptionView(one, rates.get(f"subscription/{at}/{one.pattern}"))
            for at, one in enumerate(instance.stats.subscriptions)
        ),
        responders=tuple(
            ResponderView(one, rates.get(f"responder/{at}/{one.name}"))
            for at, one in enumerate(instance.stats.responders)
        ),
    )


def nodes_of(views: Iterable[InstanceView]) -> tuple[NodeView, ...]:
    """Group instances by their node, nodes by name and instances by number; ``root`` comes last."""
    ordered = sorted(views, key=lambda view: place_of(view.record.node, view.record.number))
    groups = groupby(ordered, key=lambda view: view.record.node)
    return tuple(NodeView(name, tuple(members)) for name, members in groups)


def place_of(node: str, number: int) -> tuple[bool, str, int]:
    """What instances are sorted by."""
    return node == "root", node, number
