"""What each instance counts, in Prometheus's text: a figure of each service, subscription and responder of a hive.

They are most of what is told. Written line by line by prometheus-client they cost four to five times as much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ..data.records import Instance, ResponderRecord, SentRecord, ServiceRecord, SubscriptionRecord
from .snapshot import Snapshot

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

Record = ServiceRecord | SentRecord | SubscriptionRecord | ResponderRecord
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

#: labels as text, and what has them
Found = list[tuple[str, Record]]


def counts(snapshot: Snapshot, is_open: bool) -> Iterator[str]:
    """Lines, with their ends; nothing while Redis does not answer. ``is_open``: as OpenMetrics has them."""
    if snapshot.silent_since is not None:
        return
    every = [(labels_of(snapshot, view.record), view.record) for view in snapshot.instances]
    alive = [(where, one) for where, one in every if not one.is_lost]
    yield from _all(every, is_open)
    for name, meaning, read in INSTANCE_NOW:
        yield _family(f"instance_{name}", "gauge", meaning, is_open, ((where, read(one)) for where, one in alive))
    for name, meaning, read in INSTANCE:
        yield _family(f"instance_{name}", "counter", meaning, is_open, ((where, read(one)) for where, one in alive))
    sends: Found = [(labels(where, topic=each.name), each) for where, one in alive for each in one.stats.services]
    also: Found = [(labels(where, topic=each.name), each) for where, one in alive for each in one.stats.sends]
    hears: Found = [(of_subscription(where, each), each) for where, one in alive for each in one.stats.subscriptions]
    answers: Found = [(labels(where, name=each.name), each) for where, one in alive for each in one.stats.responders]
    yield from _each("service", SERVICE, "counter", sends, is_open)
    yield from _each("handler", SENDS, "counter", also, is_open)
    yield from _each("subscription", SUBSCRIPTION, "counter", hears, is_open)
    yield from _each("subscription", SUBSCRIPTION_NOW, "gauge", hears, is_open)
    yield from _each("responder", RESPONDER, "counter", answers, is_open)
    yield from _each("responder", RESPONDER_NOW, "gauge", answers, is_open)


def labels_of(snapshot: Snapshot, one: Instance) -> str:
    """Those of an instance."""
    return labels("", hive=snapshot.hive, node=one.node, number=str(one.number))


def of_subscription(where: str, one: SubscriptionRecord) -> str:
    """Those of a subscription, behind those of its instance."""
    return labels(where, pattern=one.pattern, handler=one.handler, group=one.group)


def labels(where: str, **more: str) -> str:
    """``more`` labels behind those of ``where``, as they stand between braces."""
    told = ",".join([f'{name}="{_escaped(value)}"' for name, value in more.items()])
    return f"{where},{told}" if where else told


def _all(every: Sequence[tuple[str, Instance]], is_open: bool) -> Iterator[str]:
    """What is said of those who are lost, too."""
    up = ((where, float(not one.is_lost)) for where, one in every)
    yield _family("up", "gauge", "Whether the lease of an instance lasts.", is_open, up)
    about = (
        (labels(where, state=one.state, host=one.about.host, version=one.about.version, python=one.about.python), 1.0)
        for where, one in every
    )
    yield _family("instance", "info", "What an instance says of itself.", is_open, about)


def _each(kind: str, fields: Mapping[str, str], sort: str, found: Found, is_open: bool) -> Iterator[str]:
    """A family for each of ``fields``. What has the same labels, such as two subscriptions of one name, is one."""
    for field, meaning in fields.items():
        name = f"{field}_seconds" if field == "longest" else field
        sums: Counter[str] = Counter()
        for where, record in found:
            sums[where] += getattr(record, field)
        yield _family(f"{kind}_{name}", sort, meaning, is_open, sums.items())


def _family(name: str, sort: str, meaning: str, is_open: bool, samples: Iterable[tuple[str, float]]) -> str:
    """A gauge, counter or info. OpenMetrics names it without what its samples' names end with."""
    full = f"hivemind_{name}"
    whole = full + {"counter": "_total", "info": "_info"}.get(sort, "")
    told = full if is_open else whole
    kind = "gauge" if sort == "info" and not is_open else sort
    lines = [f"# HELP {told} {meaning}\n# TYPE {told} {kind}\n"]
    lines += [f"{whole}{{{where}}} {float(value)}\n" for where, value in samples]
    return "".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
