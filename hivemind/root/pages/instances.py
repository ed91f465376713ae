"""The items of one instance: all that it sends, receives and answers."""

from __future__ import annotations

from ...data.records import SubscriptionRecord
from ...english import duration
from ...picture.nodes import BAD, Copy
from ...picture.snapshot import InstanceView, ResponderView, SentView, ServiceView, SubscriptionView
from ...states import NodeState
from ..wording import count, lapse, memory, rate, share
from .page import Item, item

_KNOWN = frozenset({*NodeState, *BAD})


def copy_item(copy: Copy, now: float) -> Item:
    """One copy of a node, whether it runs or not."""
    state, view = copy.state, copy.view
    program = copy.program
    known = _of_view(view, now) if view is not None else {}
    fields = {
        "instance": copy.instance,
        "state": state,
        "restarts": count(program.revivals) if program is not None else "–",
        "detail": program.detail if program is not None else "",
        "fault": program.fault if program is not None else "",
        **{name: known.get(name, "") for name in ("since", "host", "pid", "incarnation", "memory", "cpu", "facts")},
    }
    lists = {
        "services": _sending(view) if view else [],
        "subscriptions": [_subscription(one, at) for at, one in enumerate(view.subscriptions)] if view else [],
        "responders": [_responder(one, at) for at, one in enumerate(view.responders)] if view else [],
    }
    return item(copy.instance, state if state in _KNOWN else "unknown", fields, lists)


def _of_view(view: InstanceView, now: float) -> dict[str, str]:
    """What the registry says of it."""
    about, stats = view.record.about, view.record.stats
    return {
        "since": _since(view, now),
        "host": about.host,
        "pid": str(about.pid) if about.host else "",
        "incarnation": str(view.record.incarnation),
        "memory": "" if view.record.is_lost else memory(stats.memory),
        "cpu": share(stats.cpu) if stats.memory and not view.record.is_lost else "",
        "facts": _facts(view),
    }


def _sending(view: InstanceView) -> list[Item]:
    """All that it sends: its services, then what it sends beside them."""
    services = [_service(one, at, view.record.is_lost) for at, one in enumerate(view.services)]
    return [*services, *map(_sent, view.sends)]


def _sent(view: SentView) -> Item:
    said = view.record
    fields = {"topic": said.name, "state": "in handlers", "rate": rate(view.rate), "sent": count(said.sent)}
    return item(f"sends/{said.name}", "", {**fields, "restarts": "", "error": ""})


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
            **_pace(view),
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
            **_pace(view),
            **{name: count(getattr(record, name)) for name in totals},
            "error": record.error,
        },
    )


def _pace(view: SubscriptionView | ResponderView) -> dict[str, str]:
    """How long handling takes, and how long messages take from being sent to the handler."""
    return {"p50": lapse(view.p50), "p99": lapse(view.p99), "delay": lapse(view.delay_p99)}


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
