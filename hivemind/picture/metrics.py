"""A picture in Prometheus's words and by its conventions: base units, ``_total`` on what only grows.

What an instance counts begins anew with each of its lives, as Prometheus expects of a counter. batman.0 has the labels
``node`` and ``number``: ``instance`` is Prometheus's own word for where it read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..data.backlog import GroupBacklog, TopicBacklog
from .counts import counts
from .health import Level
from .histograms import histograms
from .snapshot import Snapshot

END = b"# EOF\n"  #: of OpenMetrics
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
    encode, kind = _encoder(accept)
    text = encode(registry)
    is_open = text.endswith(END)
    lines = "".join((*counts(snapshot, is_open), *histograms(snapshot))).encode()
    return text.removesuffix(END) + lines + END * is_open, kind


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    try:
        return choose_encoder(accept)
    except (ValueError, TypeError):  # it asks for a version that is none
        return choose_encoder("")


class _Picture(Collector):
    """What Prometheus's encoders read."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot, self._hive = snapshot, snapshot.hive

    def collect(self) -> Iterator[Metric]:
        """All of it; while Redis does not answer nothing is said of what is in it."""
        yield from self._whole()
        if self._snapshot.silent_since is None:
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


def _gauge(name: str, meaning: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hivemind_{name}", meaning, labels=labels)
