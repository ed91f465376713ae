"""What the page shows, as values: instances with their rates, nodes, and a sentence on the hive's health."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

from ..data.records import Instance, ResponderRecord, ServiceRecord, SubscriptionRecord
from ..english import MOST, amount, are, listed
from ..states import NodeState, ServiceState
from .durable import DurableView

Counts = Mapping[str, int]
"""What one instance counted up to one beat: a total for each key of ``counts_of``."""


class Level(StrEnum):
    """How well the hive is."""

    WELL = "well"  # every instance that should run does
    NOTE = "note"  # it runs, but something is worth a look
    TROUBLE = "trouble"  # something that should run does not
    UNKNOWN = "unknown"  # Redis does not answer, or has not yet


@dataclass(frozen=True, slots=True)
class Health:
    """How well the hive is, and why, in one sentence."""

    level: Level
    sentence: str


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

    ``read_at`` is when Redis last answered, in unix seconds by this machine's clock (None: not yet);
    ``silent_since`` is since when it does not answer (None: it does). While it is silent ``nodes`` is what was
    last known.
    """

    hive: str
    redis: str
    read_at: float | None = None
    silent_since: float | None = None
    nodes: tuple[NodeView, ...] = ()
    durable: DurableView = field(default_factory=DurableView)

    @property
    def instances(self) -> tuple[InstanceView, ...]:
        """Every instance of every node."""
        return tuple(view for node in self.nodes for view in node.instances)

    @property
    def health(self) -> Health:
        """How well the hive is."""
        return health_of(self)

    def to_json(self, nodes: Sequence[NodeView]) -> dict[str, Any]:
        """What ``/api/nodes`` answers of ``nodes``; stable names, times in unix seconds, rates in messages a second."""
        health = self.health
        return {
            "hive": self.hive,
            "redis": self.redis,
            "read_at": self.read_at,
            "silent_since": self.silent_since,
            "health": {"level": health.level.value, "sentence": health.sentence},
            "nodes": [{"node": node.name, "instances": [view.to_json() for view in node.instances]} for node in nodes],
        }


def health_of(snapshot: Snapshot) -> Health:
    """Judge a snapshot: silence of Redis first, then what does not run, then what was lost."""
    if snapshot.silent_since is not None:
        return Health(Level.UNKNOWN, "Redis does not answer: this is what was last known.")
    if snapshot.read_at is None:
        return Health(Level.UNKNOWN, "Waiting for the first answer of Redis.")
    views = snapshot.instances
    if trouble := [*_troubles(views), *snapshot.durable.state.troubles()]:
        return Health(Level.TROUBLE, _sentence(trouble))
    running = [view.record for view in views if view.record.node != "root"]
    if not running:
        return Health(Level.NOTE, "No node has joined yet.")
    nodes = {name for one in running for name in one.nodes}
    runs = f"{amount(len(running), 'instance')} of {amount(len(nodes), 'node')} running"
    if notes := [*_notes(views), *snapshot.durable.notes()]:
        return Health(Level.NOTE, _sentence([runs, f"worth a look: {notes[0]}", *notes[1:]]))
    return Health(Level.WELL, f"All is well: {runs}.")


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


def _troubles(views: Iterable[InstanceView]) -> list[str]:
    out, lost, fenced, waiting, broken = [], [], [], [], []
    for view in views:
        name = view.record.instance
        if view.record.is_lost:
            lost.append(name)
            continue
        if view.record.state == NodeState.FENCED:
            fenced.append(name)
        members = view.record.stats.members
        broken += [f"{one.name} of {name}" for one in members if one.state == "broken"]
        waiting += [f"{one.name} of {name}" for one in members if one.error and one.state != "broken"]
        waiting += [f"{one.record.name} of {name}" for one in view.services if one.record.state == ServiceState.BACKOFF]
    if lost:
        out.append(f"{listed(lost)} {are(lost)} lost: no beat within the lease")
    if fenced:
        out.append(f"{listed(fenced)} {are(fenced)} replaced by a newer process and about to stop")
    if broken:
        out.append(f"{listed(broken)} cannot be loaded")
    if waiting:
        out.append(f"{listed(waiting)} failed and {'waits' if len(waiting) == 1 else 'wait'} to be tried again")
    return out


def _notes(views: Iterable[InstanceView]) -> list[str]:
    views = tuple(views)
    out = []
    waiting = [f"{who} waits for {what}" for view in views for who, what in view.record.waits]
    settled = (NodeState.RUNNING, NodeState.WAITING)
    if odd := [f"{v.record.instance} ({v.record.state})" for v in views if v.record.state not in settled]:
        out.append(f"{listed(odd)} {are(odd)} on the way")
    out += waiting[:MOST] + ([f"{len(waiting) - MOST} more wait for others"] if len(waiting) > MOST else [])
    if lost := sum(one.lost for view in views for one in view.subscriptions):
        out.append(f"{amount(lost, 'message')} {'was' if lost == 1 else 'were'} missed or dropped so far")
    if failed := sum(one.record.failed for view in views for one in view.subscriptions):
        out.append(f"{amount(failed, 'message')} failed in a handler")
    if failed := sum(one.record.failed for view in views for one in view.responders):
        out.append(f"{amount(failed, 'request')} failed in a responder")
    return out


def _sentence(parts: list[str]) -> str:
    text = f"{'; '.join(parts)}."
    return f"G{text[1:]}" if text.startswith("group ") else text  # an instance's name begins as it does
