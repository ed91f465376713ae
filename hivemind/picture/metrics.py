"""A picture in Prometheus's words and by its conventions: base units, ``_total`` on what only grows.

What an instance counts begins anew with each of its lives, as Prometheus expects of a counter. batman.0 has the labels
``node`` and ``number``: ``instance`` is Prometheus's own word for where it read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..data.backlog import GroupBacklog, TopicBacklog
from ..data.records import Instance, ResponderRecord, SentRecord, ServiceRecord, SubscriptionRecord
from .health import Level
from .histograms import histograms
from .snapshot import InstanceView, Snapshot

#: Of each field of a subscription that is shown: what it means.
SUBSCRIPTION: Mapping[str, str] = {
    "received": "Messages that reached the process.",
    "handled": "Messages whose handler returned.",
    "failed": "Messages whose handler raised.",
    "invalid": "Messages that did not fit the annotation.",
    "dropped": "Messages that found the inbox full.",
    "missed": "Messages that never came.",
    "filled": "Messages that were missed and came afterwards from what is kept.",
    "duplicate": "Messages that came twice and reached the handler once.",
    "stale": "Messages of an older incarnation, which reach no handler.",
    "malformed": "Messages that are none of Hivemind's.",
    "acknowledged": "Durable messages that Redis knows to be handled.",
    "retried": "Further tries that were begun.",
    "dead": "Messages that became dead letters.",
    "lost": "Messages that a stream lost before they were handled.",
}
SUBSCRIPTION_NOW: Mapping[str, str] = {
    "inbox": "Messages that wait in the process.",
    "pending": "Durable messages in its hands.",
    "parked": "Durable messages that wait for their next try.",
    "longest": "Seconds for which a handler has been running, the longest.",
}
RESPONDER: Mapping[str, str] = {
    "received": "Requests that reached the process.",
    "handled": "Requests that were answered.",
    "failed": "Requests whose handler raised.",
    "invalid": "Requests that did not fit the handler.",
    "cancelled": "Requests that were not wanted any more, or came too late.",
}
SERVICE: Mapping[str, str] = {
    "sent": "Messages that were handed over to be sent.",
    "restarts": "Times that a service was called again after it had failed.",
}
SENDS: Mapping[str, str] = {"sent": "Messages on a topic that is none of its services: what handlers and hooks send."}
RESPONDER_NOW: Mapping[str, str] = {"in_hand": "Requests that are being answered."}

END = b"# EOF\n"  #: of OpenMetrics
Record = ServiceRecord | SentRecord | SubscriptionRecord | ResponderRecord
Family = CounterMetricFamily | GaugeMetricFamily
INSTANCE_NOW: Sequence[tuple[str, str, Callable[[Instance], float]]] = (
    ("start_time_seconds", "When its process began.", lambda one: one.about.started),
    ("outbox", "Messages that Redis has yet to confirm.", lambda one: one.stats.outbox),
    ("overdue", "Of these, those that wait for more than 2 s.", lambda one: one.stats.overdue),
    ("memory_bytes", "Memory of the machine that its process has.", lambda one: one.stats.memory),
    ("cpu_ratio", "How much of one processor its process used since the beat before.", lambda one: one.stats.cpu),
)
INSTANCE: Sequence[tuple[str, str, Callable[[Instance], float]]] = (
    ("gaps", "Times that what it receives was interrupted.", lambda one: one.stats.gaps),
    ("unsent_messages", "Messages of it that never left it: refused, or dropped.", lambda one: one.stats.unsent),
    ("log_lost", "Lines of its log that could not be written.", lambda one: one.stats.log_lost),
)
TOPIC: Sequence[tuple[str, str, Callable[[TopicBacklog], float]]] = (
    ("messages", "Messages that lie in its stream.", lambda one: one.length),
    ("bytes", "Memory of Redis that they take, about.", lambda one: one.size),
    ("dead_letters", "Dead letters of it.", lambda one: one.letters),
)
GROUP: Sequence[tuple[str, str, Callable[[GroupBacklog], float]]] = (
    ("lag", "Messages that were not given to it yet.", lambda one: one.lag),
    ("pending", "Messages that it was given and has yet to acknowledge.", lambda one: one.pending),
    ("oldest_seconds", "Age of the oldest message that it has yet to acknowledge.", lambda one: one.oldest or 0.0),
    ("readers", "Instances that read in it and live.", lambda one: len(one.readers)),
)


def exposition(snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """The picture as text, and its content type, which is what ``accept``, a header of HTTP, prefers."""
    registry = CollectorRegistry()
    registry.register(_Picture(snapshot))
    encode, kind = choose_encoder(accept)
    text = encode(registry)
    measured = "".join(histograms(snapshot)).encode()
    if text.endswith(END):
        return text.removesuffix(END) + measured + END, kind
    return text + measured, kind


class _Picture(Collector):
    """What Prometheus's encoders read."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot, self._hive = snapshot, snapshot.hive

    def collect(self) -> Iterator[Metric]:
        """All of it; while Redis does not answer nothing is said of what is in it."""
        yield from self._whole()
        if self._snapshot.silent_since is None:
            yield from self._instances()
            yield from self._members()
            yield from self._durable()

    def _whole(self) -> Iterator[Metric]:
        snapshot, health = self._snapshot, self._snapshot.health
        level = GaugeMetricFamily("hivemind_level", "How well the hive is: 1 at its level.", labels=["hive", "level"])
        for each in Level:
            level.add_metric([self._hive, each.value], float(each is health.level))
        yield level
        answers = snapshot.read_at is not None and snapshot.silent_since is None
        yield self._one("redis_up", "Whether Redis answers.", float(answers))
        yield self._one("well", "Whether all that should run does.", float(health.is_well))
        yield self._one("troubles", "Clauses that `hm status` has for what is wrong.", len(health.troubles))
        yield self._one("notes", "Clauses that `hm status` has for what is worth a look.", len(health.notes))
        yield self._one("declared_instances", "Instances that should run.", len(snapshot.state.should.instances))
        if snapshot.read_at is not None:
            yield self._one("read_timestamp_seconds", "When Redis last answered.", snapshot.read_at)

    def _one(self, name: str, meaning: str, value: float) -> Metric:
        metric = GaugeMetricFamily(f"hivemind_{name}", meaning, labels=["hive"])
        metric.add_metric([self._hive], value)
        return metric

    def _instances(self) -> Iterator[Metric]:
        labels = ["hive", "node", "number"]
        up = GaugeMetricFamily("hivemind_up", "Whether the lease of an instance lasts.", labels=labels)
        about = InfoMetricFamily("hivemind_instance", "What an instance says of itself.", labels=labels)
        gauges = [(_gauge(f"instance_{name}", what, labels), read) for name, what, read in INSTANCE_NOW]
        counts = [(_count(f"instance_{name}", what, labels), read) for name, what, read in INSTANCE]
        for view in self._snapshot.instances:
            one, where = view.record, self._where(view)
            said = {"state": one.state, "host": one.about.host, "version": one.about.version}
            up.add_metric(where, float(not one.is_lost))
            about.add_metric(where, {**said, "python": one.about.python})
            if not one.is_lost:
                _fill(gauges, where, one)
                _fill(counts, where, one)
        yield from (up, about, *(metric for metric, _ in (*gauges, *counts)))

    def _members(self) -> Iterator[Metric]:
        alive = [view for view in self._snapshot.instances if not view.record.is_lost]
        found = [(self._where(view), view) for view in alive]
        sends = [([*who, one.record.name], one.record) for who, view in found for one in view.services]
        also = [([*who, one.record.name], one.record) for who, view in found for one in view.sends]
        hears = [(_subscribed(who, one.record), one.record) for who, view in found for one in view.subscriptions]
        answers = [([*who, one.record.name], one.record) for who, view in found for one in view.responders]
        yield from _each("service", SERVICE, ["topic"], sends, _count)
        yield from _each("handler", SENDS, ["topic"], also, _count)
        labels = ["pattern", "handler", "group"]
        yield from _each("subscription", SUBSCRIPTION, labels, hears, _count)
        yield from _each("subscription", SUBSCRIPTION_NOW, labels, hears, _gauge)
        yield from _each("responder", RESPONDER, ["name"], answers, _count)
        yield from _each("responder", RESPONDER_NOW, ["name"], answers, _gauge)

    def _durable(self) -> Iterator[Metric]:
        topics = self._snapshot.durable.state.topics
        for name, what, of_topic in TOPIC:
            metric = _gauge(f"topic_{name}", what, ["hive", "topic"])
            for topic in topics:
                metric.add_metric([self._hive, topic.kept.topic], of_topic(topic))
            yield metric
        for name, what, of_group in GROUP:
            metric = _gauge(f"group_{name}", what, ["hive", "topic", "group"])
            for group in (group for topic in topics for group in topic.groups):
                metric.add_metric([self._hive, group.topic, group.group], of_group(group))
            yield metric

    def _where(self, view: InstanceView) -> list[str]:
        return [self._hive, view.record.node, str(view.record.number)]


def _fill(metrics: Sequence[tuple[Family, Callable[[Instance], float]]], where: list[str], one: Instance) -> None:
    for metric, read in metrics:
        metric.add_metric(where, read(one))


def _subscribed(who: Sequence[str], one: SubscriptionRecord) -> list[str]:
    return [*who, one.pattern, one.handler, one.group]


def _each(
    kind: str,
    fields: Mapping[str, str],
    labels: Sequence[str],
    found: Sequence[tuple[list[str], Record]],
    family: Callable[[str, str, list[str]], Family],
) -> Iterator[Metric]:
    """A metric for each of ``fields``. What has the same labels, such as two subscriptions of one name, is one."""
    for field, meaning in fields.items():
        name = f"{field}_seconds" if field == "longest" else field
        metric = family(f"{kind}_{name}", meaning, ["hive", "node", "number", *labels])
        sums: Counter[tuple[str, ...]] = Counter()
        for where, record in found:
            sums[tuple(where)] += getattr(record, field)
        for whose, value in sums.items():
            metric.add_metric(whose, value)
        yield metric


def _gauge(name: str, meaning: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hivemind_{name}", meaning, labels=labels)


def _count(name: str, meaning: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"hivemind_{name}", meaning, labels=labels)
