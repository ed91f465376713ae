"""The hive at one moment, as values: instances with their rates, nodes, durable delivery, and how well all of it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby, zip_longest
from typing import Any, Generic, TypeVar

from ..data.histogram import growth, quantile
from ..data.records import Instance, ResponderRecord, SentRecord, ServiceRecord, Stats, SubscriptionRecord
from .durable import DurableView
from .health import Health, judge
from .past import Past
from .state import State

Sent = TypeVar("Sent", ServiceRecord, SentRecord)
Handled = TypeVar("Handled", SubscriptionRecord, ResponderRecord)


@dataclass(frozen=True, slots=True)
class SenderView(Generic[Sent]):
    """What sends on a topic, and what it had counted ``seconds`` before; None until two beats are known."""

    record: Sent
    before: Sent | None = None
    seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        """How many messages a second it sends; None until two beats are known."""
        return None if self.before is None else _per_second(self.before.sent, self.record.sent, self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Stable names."""
        return {**asdict(self.record), "rate": self.rate}


@dataclass(frozen=True, slots=True)
class ServiceView(SenderView[ServiceRecord]):
    """A service."""


@dataclass(frozen=True, slots=True)
class SentView(SenderView[SentRecord]):
    """A topic that is none of the instance's services."""


@dataclass(frozen=True, slots=True)
class HandlerView(Generic[Handled]):
    """What receives, and what it had counted ``seconds`` before; None until two beats are known.

    Of late half of all was handled within ``p50`` seconds, and 99 of 100 within ``p99``; from sending to the handler it
    took ``delay_p50`` and ``delay_p99``. None where nothing was handled of late. Most are never asked for: each is
    reckoned when it is.
    """

    record: Handled
    before: Handled | None = None
    seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        """How many messages or requests a second reach it; None until two beats are known."""
        return None if self.before is None else _per_second(self.before.received, self.record.received, self.seconds)

    @property
    def p50(self) -> float | None:
        """Seconds."""
        return self._within(0.5)

    @property
    def p99(self) -> float | None:
        """Seconds."""
        return self._within(0.99)

    @property
    def delay_p50(self) -> float | None:
        """Seconds."""
        return self._delayed(0.5)

    @property
    def delay_p99(self) -> float | None:
        """Seconds."""
        return self._delayed(0.99)

    def to_json(self) -> dict[str, Any]:
        """Stable names."""
        paces = {name: getattr(self, name) for name in ("p50", "p99", "delay_p50", "delay_p99")}
        return {**asdict(self.record), "rate": self.rate, **paces}

    def _within(self, share: float) -> float | None:
        return None if self.before is None else quantile(growth(self.before.times, self.record.times), share)

    def _delayed(self, share: float) -> float | None:
        return None if self.before is None else quantile(growth(self.before.delays, self.record.delays), share)


@dataclass(frozen=True, slots=True)
class SubscriptionView(HandlerView[SubscriptionRecord]):
    """A subscription."""

    @property
    def lost(self) -> int:
        """How many messages never reached the handler: see ``lost_by``."""
        return lost_by(self.record)

    @property
    def losing(self) -> float | None:
        """How many messages a second it loses; None until two beats are known."""
        return None if self.before is None else _per_second(lost_by(self.before), self.lost, self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Stable names."""
        return {**HandlerView.to_json(self), "losing": self.losing}


@dataclass(frozen=True, slots=True)
class ResponderView(HandlerView[ResponderRecord]):
    """A responder."""


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
        that it sends on beside its services; for subscriptions and responders also how long handling takes.
        """
        return {
            **self.record.to_json(),
            "seen": self.seen,
            "services": [view.to_json() for view in self.services],
            "subscriptions": [view.to_json() for view in self.subscriptions],
            "responders": [view.to_json() for view in self.responders],
            "sends": [view.to_json() for view in self.sends],
        }


@dataclass(frozen=True, slots=True)
class NodeView:
    """All instances of one node, lowest number first."""

    name: str
    instances: tuple[InstanceView, ...]


@dataclass(frozen=True)
class Snapshot:
    """The hive at one moment.

    ``read_at`` is when Redis last answered, in unix seconds by this machine's clock (None: not yet); ``silent_since``
    is since when it does not answer (None: it does), and ``why`` says why, if that is known. While it is silent
    ``nodes`` is what was last known. ``past`` is empty where nobody watches.
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
            return Health(self.hive, 0, 0, unseen=f"{self.why or 'Redis does not answer'}; this is what was last known")
        if self.read_at is None:
            return Health(self.hive, 0, 0, unseen=self.why or "Redis has not answered yet")
        return judge(self.hive, [view.record for view in self.instances], self.state).and_of(self.durable)

    def with_past(self, past: Past) -> Snapshot:
        """The same with its past. What was judged of it holds, and is not judged twice."""
        found = replace(self, past=past)
        vars(found).update({name: value for name, value in vars(self).items() if name not in vars(found)})
        return found

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


def lost_by(one: SubscriptionRecord) -> int:
    """How many messages reached no handler: missed on the way, dropped at a full inbox, or lost by a stream."""
    return one.missed + one.dropped + one.lost


def lost_in(instance: Instance) -> int:
    """How many messages an instance lost: those that reached none of its handlers, and its own that never left it."""
    return sum(map(lost_by, instance.stats.subscriptions)) + instance.stats.unsent


def view_of(
    instance: Instance, seen: float | None = None, before: Stats | None = None, seconds: float = 0.0
) -> InstanceView:
    """An instance beside what it had counted ``seconds`` before in the same life; None: then it has no rates."""
    now, then = instance.stats, before or Stats()
    known = {one.name: one for one in then.sends}
    return InstanceView(
        instance,
        seen,
        tuple(ServiceView(one, was, seconds) for one, was in _pairs(now.services, then.services, "name")),
        tuple(
            SubscriptionView(one, was, seconds) for one, was in _pairs(now.subscriptions, then.subscriptions, "pattern")
        ),
        tuple(ResponderView(one, was, seconds) for one, was in _pairs(now.responders, then.responders, "name")),
        tuple(SentView(one, known.get(one.name), seconds) for one in now.sends),
    )


def _pairs(now: Sequence[Any], before: Sequence[Any], name: str) -> Iterator[tuple[Any, Any]]:
    """Each record, and the one before that has its place and its name; None where there was none."""
    for one, was in zip_longest(now, before[: len(now)]):
        yield one, was if was is not None and getattr(was, name) == getattr(one, name) else None


def _per_second(older: int, newer: int, seconds: float) -> float:
    return max(0, newer - older) / seconds


def nodes_of(views: Iterable[InstanceView]) -> tuple[NodeView, ...]:
    """Group instances by their node, nodes by name and instances by number; ``root`` comes last."""
    ordered = sorted(views, key=lambda view: place_of(view.record.node, view.record.number))
    groups = groupby(ordered, key=lambda view: view.record.node)
    return tuple(NodeView(name, tuple(members)) for name, members in groups)


def place_of(node: str, number: int) -> tuple[bool, str, int]:
    """What instances are sorted by."""
    return node == "root", node, number
