"""All nodes with their instances, a part at a time."""

from __future__ import annotations

from collections.abc import Sequence

from ...data.records import SubscriptionRecord
from ...english import duration
from ...picture.snapshot import InstanceView, NodeView, ResponderView, ServiceView, SubscriptionView
from ...states import NodeState
from ..paging import PAGE, Part, Window, part_of
from ..wording import count, rate
from .page import Item, Visit, frame, item

_KNOWN = frozenset({*NodeState, "lost"})


class Nodes:
    """``/nodes``."""

    path, template, label = "/nodes", "nodes.html", "Nodes"

    async def tree(self, visit: Visit) -> Item:
        """The instances of a part of the hive, by node."""
        window = Window.read(visit.query, PAGE)
        part = part_of(visit.snapshot, window)
        whole = {node.name: node for node in visit.snapshot.nodes}
        fields = {
            "shown": _shown(part),
            "first": window.link() if part.before else "",
            "next": window.link(part.next) if part.next else "",
        }
        return frame(
            visit, fields, {"nodes": [_node(whole[node.name], node.instances, visit.now) for node in part.nodes]}
        )


def _shown(part: Part) -> str:
    """Which of the instances these are; "" where they are all."""
    if part.shown == part.total:
        return ""
    return f"instances {part.before + 1:,} to {part.before + part.shown:,} of {part.total:,}"


def _node(node: NodeView, shown: Sequence[InstanceView], now: float) -> Item:
    states = [_state(view) for view in node.instances]
    summary = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return item(
        node.name,
        "",
        {"name": node.name, "summary": summary},
        {"instances": [instance_item(view, now) for view in shown]},
    )


def instance_item(view: InstanceView, now: float) -> Item:
    """One instance with all that it sends, receives and answers."""
    record, about = view.record, view.record.about
    return item(
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
    return item(
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
    return item(
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


def _responder(view: ResponderView, at: int) -> Item:
    record = view.record
    totals = ("received", "handled", "failed", "invalid", "cancelled", "in_hand")
    return item(
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
