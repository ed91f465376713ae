"""The snapshot in words: every text of the page, made once, for the server's page and for its events alike.

The page is a tree of items. An item has a ``key`` that is unique among its sisters, a ``state`` that chooses its
colour, ``fields`` (name to text) and ``lists`` (name to items). The template and the script walk the same tree.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..data.backlog import GroupBacklog, TopicBacklog
from ..data.records import SubscriptionRecord
from ..english import duration
from ..picture.durable import DurableView
from ..picture.health import Level
from ..picture.snapshot import InstanceView, NodeView, ResponderView, ServiceView, Snapshot, SubscriptionView
from ..states import NodeState
from .paging import FIRST, Part, Window, part_of

Item = dict[str, Any]

_KNOWN = frozenset({*NodeState, "lost"})


def page_of(snapshot: Snapshot, now: float, window: Window = FIRST) -> Item:
    """The whole page as one item, with the instances in ``window``; ``now`` in unix seconds."""
    health, part = snapshot.health, part_of(snapshot, window)
    whole = {node.name: node for node in snapshot.nodes}
    return _item(
        "hive",
        health.level.value,
        {
            "hive": snapshot.hive,
            "redis": snapshot.redis,
            "health": _health(snapshot, now),
            "read": clock(snapshot.read_at) if snapshot.read_at is not None else "not yet",
            "shown": _shown(part),
            "first": window.link() if part.before else "",
            "next": window.link(part.next) if part.next else "",
        },
        {
            "nodes": [_node(whole[node.name], node.instances, now) for node in part.nodes],
            "topics": [_topic(one, snapshot.durable) for one in snapshot.durable.state.topics],
        },
    )


def rate(per_second: float | None) -> str:
    """Messages a second with two or three digits that matter; a dash while it is not known."""
    if per_second is None:
        return "–"
    if per_second == 0:
        return "0/s"
    if per_second < 0.095:
        return f"{per_second * 60:.1f}/min"
    if per_second < 10:
        return f"{per_second:.1f}/s"
    return f"{per_second:,.0f}/s"


def count(total: int) -> str:
    """A whole number with thousands apart."""
    return f"{total:,}"


def clock(at: float) -> str:
    """A moment of today as this machine's wall clock shows it."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def _health(snapshot: Snapshot, now: float) -> str:
    sentence = f"{snapshot.health.sentence}."
    if snapshot.silent_since is None:
        return sentence
    since = f"since {clock(snapshot.silent_since)} ({duration(now - snapshot.silent_since)})"
    if snapshot.health.level is Level.UNKNOWN:
        return f"Redis has not answered {since}. What you see is what was last known."
    return sentence


def _shown(part: Part) -> str:
    """Which of the instances these are; "" where they are all."""
    if part.shown == part.total:
        return ""
    return f"instances {part.before + 1:,} to {part.before + part.shown:,} of {part.total:,}"


def _node(node: NodeView, shown: Sequence[InstanceView], now: float) -> Item:
    states = [_state(view) for view in node.instances]
    summary = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return _item(
        node.name,
        "",
        {"name": node.name, "summary": summary},
        {"instances": [_instance(view, now) for view in shown]},
    )


def _instance(view: InstanceView, now: float) -> Item:
    record, about = view.record, view.record.about
    return _item(
        record.instance,
        _state(view),
        {
            "instance": record.instance,
            "state": record.state,
            "where": f"{about.host}, pid {about.pid}" if about.host else "",
            "since": _since(view, now),
            "facts": _facts(view),
        },
        {
            "services": [_service(one, at, record.is_lost) for at, one in enumerate(view.services)],
            "subscriptions": [_subscription(one, at) for at, one in enumerate(view.subscriptions)],
            "responders": [_responder(one, at) for at, one in enumerate(view.responders)],
        },
    )


def _service(view: ServiceView, at: int, lost: bool) -> Item:
    record = view.record
    return _item(
        f"{at}/{record.name}",
        "" if lost else record.state,
        {
            "topic": record.name,
            "state": f"was {record.state}" if lost else record.state,
            "sent": count(record.sent),
            "rate": rate(view.rate),
            "restarts": count(record.restarts),
            "error": record.error,
        },
    )


def _subscription(view: SubscriptionView, at: int) -> Item:
    record = view.record
    totals = ("received", "handled", "missed", "filled", "dropped", "failed", "invalid", "inbox")
    return _item(
        f"{at}/{record.pattern}",
        "",
        {
            "pattern": record.pattern,
            "handler": record.handler,
            "rate": rate(view.rate),
            **{name: count(getattr(record, name)) for name in totals},
            "durable": _durable(record) if record.group else "",
            "error": record.error,
        },
    )


def _durable(record: SubscriptionRecord) -> str:
    """What became of the messages of a durable subscription."""
    odd = (
        ("tried again", record.retried),
        ("parked", record.parked),
        ("dead-lettered", record.dead),
        ("lost", record.lost),
    )
    told = "".join(f", {count(total)} {what}" for what, total in odd if total)
    return f"group {record.group}: {count(record.acknowledged)} acknowledged{told}"


def _topic(one: TopicBacklog, view: DurableView) -> Item:
    kept = one.kept
    how = "durable" if kept.durable else ""
    return _item(
        kept.topic,
        "",
        {
            "topic": kept.topic,
            "how": ", ".join(filter(None, (how, kept.keep and f"keeps {kept.keep}"))),
            "length": count(one.length),
            "size": f"{one.size / 2**20:,.1f} MiB",
            "letters": count(one.letters),
        },
        {"groups": [_group(each, view.growth.get((each.topic, each.group))) for each in one.groups]},
    )


def _group(one: GroupBacklog, growth: float | None) -> Item:
    return _item(
        one.group,
        "note" if growth and growth > 0 else "",
        {
            "group": one.group,
            "readers": ", ".join(one.readers) or "nobody",
            "lag": f"{count(one.lag)}{'+' if one.is_more else ''}",
            "growth": "" if not growth else f"+{growth:,.1f}/s",
            "pending": count(one.pending),
            "oldest": "" if one.oldest is None else duration(one.oldest),
        },
    )


def _responder(view: ResponderView, at: int) -> Item:
    record = view.record
    totals = ("received", "handled", "failed", "invalid", "cancelled", "in_hand")
    return _item(
        f"{at}/{record.name}",
        "",
        {
            "name": record.name,
            "handler": record.handler,
            "rate": rate(view.rate),
            **{name: count(getattr(record, name)) for name in totals},
            "error": record.error,
        },
    )


def _state(view: InstanceView) -> str:
    return view.record.state if view.record.state in _KNOWN else "unknown"


def _since(view: InstanceView, now: float) -> str:
    if view.record.is_lost:
        return f"last seen {duration(now - view.seen)} ago" if view.seen is not None else "not seen since root started"
    return f"up {duration(now - view.record.about.started)}" if view.record.about.started else ""


def _facts(view: InstanceView) -> str:
    about = view.record.about
    facts = [] if about.watched or view.record.is_lost else ["not watched"]
    facts += [
        f"waits for {what}" if who == view.record.instance else f"{who} waits for {what}"
        for who, what in view.record.waits
    ]
    if members := view.record.stats.members:
        facts.append(f"shared by {', '.join(one.fault or one.name for one in members)}")
    return " · ".join([*facts, *(f"{name}: {value}" for name, value in about.metadata.items())])


def _item(key: str, state: str, fields: Mapping[str, str], lists: Mapping[str, list[Item]] | None = None) -> Item:
    return {"key": key, "state": state, "fields": dict(fields), "lists": dict(lists or {})}
