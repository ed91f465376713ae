"""What `hm top` shows, as values: the nodes, the topics, and all of one node. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.backlog import TopicBacklog
from ..english import duration
from ..picture.limits import Figures
from ..picture.nodes import NodeLine, node_line, node_lines
from ..picture.snapshot import InstanceView, ResponderView, Snapshot, SubscriptionView
from ..picture.traffic import traffic
from ..root.wording import count, lapse, memory, rate, share
from ..topics import is_pattern, matches

Show = Callable[[Any], str]
BAD = frozenset({"lost", "failing", "fenced", "broken", "quarantined", "unknown"})  #: states in which nobody works


def _age(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _number(total: int | None) -> str:
    return "" if total is None else count(total)


NODES: Mapping[str, Show] = {
    "node": str,
    "state": str,
    "sends": rate,
    "receives": rate,
    "p99": lapse,
    "delay": lapse,
    "lost": count,
    "failed": count,
    "restarts": count,
    "cpu": share,
    "memory": memory,
}
TOPICS: Mapping[str, Show] = {
    "topic": str,
    "sent by": str,
    "sends": rate,
    "heard by": str,
    "kept": _number,
    "lag": _number,
    "oldest": _age,
    "dead": _number,
    "note": str,
}
INSTANCES: Mapping[str, Show] = {
    "instance": str,
    "state": str,
    "host": str,
    "pid": str,
    "uptime": _age,
    "outbox": count,
    "cpu": share,
    "memory": memory,
}
SERVICES: Mapping[str, Show] = {"service": str, "of": str, "state": str, "sent": count, "sends": rate, "error": str}
HANDLERS: Mapping[str, Show] = {
    "hears": str,
    "of": str,
    "received": count,
    "receives": rate,
    "p50": lapse,
    "p99": lapse,
    "delay": lapse,
    "lost": count,
    "failed": count,
    "waiting": count,
    "error": str,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its values by the names of the columns, and a colour where something is not well."""

    values: Mapping[str, Any]
    style: str = ""

    def cells(self, columns: Mapping[str, Show]) -> list[str]:
        """As it is shown."""
        return [show(self.values[name]) for name, show in columns.items()]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows under columns."""

    columns: Mapping[str, Show]
    rows: tuple[Row, ...]

    @property
    def key(self) -> str:
        """The column that names a row."""
        return next(iter(self.columns))

    def arranged(self, sort: str = "", wanted: str = "") -> Sheet:
        """Those whose name has ``wanted`` in it, or matches it; sorted by a column: text upwards, numbers down, and
        what is not known last. By "" as it was.
        """
        rows = [row for row in self.rows if _is_wanted(str(row.values[self.key]), wanted)]
        if sort in self.columns:
            rows.sort(key=lambda row: _place(row.values[sort]))
        return Sheet(self.columns, tuple(rows))


def nodes_sheet(snapshot: Snapshot) -> Sheet:
    """A row for each node."""
    return Sheet(NODES, tuple(_node(line) for line in node_lines(snapshot)))


def topics_sheet(snapshot: Snapshot) -> Sheet:
    """A row for each topic that somebody sends or that is kept, and for each pattern that nothing matches."""
    found = traffic([view.record for view in snapshot.instances])
    kept = {one.kept.topic: one for one in snapshot.durable.state.topics}
    rates: dict[str, float] = {}
    for view in snapshot.instances:
        for one in view.services:
            if one.rate is not None and not view.record.is_lost:
                rates[one.record.name] = rates.get(one.record.name, 0.0) + one.rate
    rows = []
    for topic in found.topics:
        nodes, ears = {one.node for one in topic.senders}, {one.node for one in topic.subscribers}
        lag = _kept(kept.pop(topic.topic, None))
        rows.append(_topic(topic.topic, nodes, rates.get(topic.topic), ears, topic.note, lag))
    for name, rest in sorted(kept.items()):
        rows.append(_topic(name, (), None, {each.group for each in rest.groups}, "", _kept(rest)))
    for unfed in found.unfed:
        ears = {one.node for one in unfed.subscribers}
        rows.append(_topic(unfed.pattern, (), None, ears, unfed.note, _kept(None)))
    return Sheet(TOPICS, tuple(rows))


def node_sheets(snapshot: Snapshot, name: str, now: float) -> list[Sheet]:
    """All of one node: its copies, what it sends, what it hears; nothing if nobody knows it."""
    line = node_line(snapshot, name)
    if line is None:
        return []
    views = line.views
    sheets = [
        Sheet(INSTANCES, tuple(_instance(view, now) for view in views)),
        Sheet(SERVICES, tuple(row for view in views for row in _services(view))),
        Sheet(HANDLERS, tuple(row for view in views for row in _handlers(view))),
    ]
    return [sheet for sheet in sheets if sheet.rows]


def totals(snapshot: Snapshot) -> str:
    """The hive in figures, the same as `hm status` has."""
    figures, lines = Figures.of(snapshot), node_lines(snapshot)
    sends = rate(_sum(line.sends for line in lines))
    receives = rate(_sum(line.receives for line in lines))
    parts = [f"sends {sends}", f"receives {receives}", f"lost {count(figures.loss)}", f"lag {count(figures.lag)}"]
    if figures.age:
        parts.append(f"oldest {duration(figures.age)}")
    return " · ".join([*parts, f"dead letters {count(figures.dead)}"])


def as_object(snapshot: Snapshot) -> dict[str, Any]:
    """All of it for ``--json``; stable names, seconds, bytes, messages a second."""
    health = snapshot.health
    return {
        "hive": snapshot.hive,
        "health": {"level": health.level.value, "sentence": health.sentence},
        "nodes": [dict(row.values) for row in nodes_sheet(snapshot).rows],
        "topics": [dict(row.values) for row in topics_sheet(snapshot).rows],
    }


def _node(line: NodeLine) -> Row:
    states = ", ".join(state if number == 1 else f"{number} {state}" for state, number in line.states)
    delays = [one.delay_p99 for one in line.hears if one.delay_p99 is not None]
    values = {
        "node": line.name,
        "state": states or "not running",
        "sends": line.sends,
        "receives": line.receives,
        "p99": line.p99,
        "delay": max(delays, default=None),
        "lost": line.lost,
        "failed": line.failed,
        "restarts": line.restarts,
        "cpu": line.cpu,
        "memory": line.memory,
    }
    is_bad = bool(line.problem) or any(state in BAD for state, _ in line.states)
    return Row(values, "red" if is_bad else "yellow" if line.lost or line.failed else "")


def _topic(
    name: str,
    senders: Iterable[str],
    sends: float | None,
    ears: Iterable[str],
    note: str,
    kept: tuple[int | None, int | None, float | None, int | None],
) -> Row:
    messages, lag, oldest, dead = kept
    said = {"topic": name, "sent by": ", ".join(sorted(senders)), "sends": sends, "heard by": ", ".join(sorted(ears))}
    return Row(
        {**said, "kept": messages, "lag": lag, "oldest": oldest, "dead": dead, "note": note},
        "yellow" if note or dead else "",
    )


def _kept(one: TopicBacklog | None) -> tuple[int | None, int | None, float | None, int | None]:
    if one is None:
        return None, None, None, None
    groups = [group for group in one.groups if not group.is_retired]
    ages = [group.oldest for group in groups if group.oldest is not None]
    return one.length, max((group.lag for group in groups), default=0), max(ages, default=None), one.letters


def _instance(view: InstanceView, now: float) -> Row:
    one, stats = view.record, view.record.stats
    values = {
        "instance": one.instance,
        "state": one.state,
        "host": one.about.host,
        "pid": one.about.pid,
        "uptime": now - one.about.started if one.about.started and not one.is_lost else None,
        "outbox": stats.outbox,
        "cpu": stats.cpu,
        "memory": stats.memory,
    }
    return Row(values, "red" if one.state in BAD else "")


def _services(view: InstanceView) -> Iterable[Row]:
    for one in view.services:
        said = one.record
        values = {"service": said.name, "of": view.record.instance, "state": said.state, "sent": said.sent}
        yield Row({**values, "sends": one.rate, "error": said.error}, "yellow" if said.error else "")


def _handlers(view: InstanceView) -> Iterable[Row]:
    for one in view.subscriptions:
        lost, waiting = one.lost, one.record.inbox + one.record.pending
        yield _handler(view, one, one.record.pattern, lost, waiting)
    for each in view.responders:
        yield _handler(view, each, each.record.name, 0, each.record.in_hand)


def _handler(view: InstanceView, one: SubscriptionView | ResponderView, name: str, lost: int, waiting: int) -> Row:
    said = one.record
    values = {
        "hears": name,
        "of": view.record.instance,
        "received": said.received,
        "receives": one.rate,
        "p50": one.p50,
        "p99": one.p99,
        "delay": one.delay_p99,
        "lost": lost,
        "failed": said.failed,
        "waiting": waiting,
        "error": said.error,
    }
    return Row(values, "yellow" if lost or said.error else "")


def _is_wanted(name: str, wanted: str) -> bool:
    return wanted in name or (is_pattern(wanted) and matches(wanted, name))


def _place(value: Any) -> tuple[bool, Any]:
    if value is None or value == "":
        return True, 0
    return False, value if isinstance(value, str) else -value


def _sum(rates: Sequence[float | None] | Iterable[float | None]) -> float | None:
    known = [one for one in rates if one is not None]
    return sum(known) if known else None
