"""What `hm top` shows, as values: the nodes, the topics, and all of one node. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..english import age, duration
from ..picture.flows import added
from ..picture.limits import Figures
from ..picture.nodes import BAD, NodeLine, node_line, node_lines
from ..picture.snapshot import InstanceView, ResponderView, Snapshot, SubscriptionView
from ..picture.topics import TopicView, topics_of
from ..picture.traffic import Topic
from ..root.wording import count, lapse, memory, rate, share
from ..topics import is_pattern, matches

Show = Callable[[Any], str]


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
    "oldest": age,
    "dead": _number,
    "note": str,
}
INSTANCES: Mapping[str, Show] = {
    "instance": str,
    "state": str,
    "host": str,
    "pid": str,
    "uptime": age,
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
    found = topics_of(snapshot)
    unfed = (TopicView(Topic(one.pattern, (), one.subscribers, one.note)) for one in found.traffic.unfed)
    return Sheet(TOPICS, tuple(_topic(view) for view in (*found.views, *unfed)))


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
    sends = rate(added(line.sends for line in lines))
    receives = rate(added(line.receives for line in lines))
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
    is_bad = any(state in BAD for state, _ in line.states)
    if line.problem and not is_bad:
        values["state"] = f"{values['state']}, not well"
    return Row(values, "red" if is_bad or line.problem else "yellow" if line.lost or line.failed else "")


def _topic(view: TopicView) -> Row:
    topic, kept = view.topic, view.kept
    groups = [group for group in kept.groups if not group.is_retired] if kept is not None else []
    ages = [group.oldest for group in groups if group.oldest is not None]
    values = {
        "topic": topic.topic,
        "sent by": ", ".join(sorted({one.node for one in topic.senders})),
        "sends": view.rate,
        "heard by": ", ".join(sorted({one.node for one in topic.subscribers})),
        "kept": kept.length if kept is not None else None,
        "lag": max((group.lag for group in groups), default=0) if kept is not None else None,
        "oldest": max(ages, default=None),
        "dead": kept.letters if kept is not None else None,
        "note": topic.note,
    }
    return Row(values, "yellow" if topic.note or values["dead"] else "")


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
