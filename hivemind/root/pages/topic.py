"""One topic: who sends and who hears, what is kept, and its last messages. A pattern has such a page, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...bus.bus import Bus
from ...bus.streams import body_of
from ...data.records import ServiceRecord
from ...english import size_of
from ...errors import InvalidName, RedisError
from ...picture.flows import added
from ...picture.topics import HearingView, SendingView, hearing, sending, topics_of
from ...topics import check_pattern, is_pattern
from ..wording import count, lapse, rate
from .messages import message_of
from .page import Item, NotFound, Visit, frame, item
from .payloads import MOST
from .topics import address, group_items, how_kept

LAST = 20  #: messages of a kept topic that are shown at once
RENDERED = 6  #: values of each of them in the page; its events bring the others


class Topic:
    """``/topics/<topic>``."""

    path, template, label = "/topics/{topic:path}", "topic.html", ""

    async def tree(self, visit: Visit) -> Item:
        """All that is known of it, also if that is nothing: one may want to see what comes, or to send."""
        name = _checked(visit.path["topic"])
        snapshot = visit.snapshot
        found = topics_of(snapshot).of(name)
        senders, subscribers, kept = sending(snapshot, name), hearing(snapshot, name), found.kept
        fields = {
            "topic": name,
            "kind": "pattern" if is_pattern(name) else "topic",
            "address": address(name),
            "events": f"/events/tail{address(name).removeprefix('/topics')}",
            "publish": f"/api{address(name)}",
            "note": "" if is_pattern(name) else found.topic.note,
            "rate": rate(added(one.service.rate for one in senders) if is_pattern(name) else found.rate),
            "sent": count(sum(one.service.record.sent for one in senders)),
            "received": _of_topic(name, subscribers, lambda one: one.subscription.record.received),
            "lost": _of_topic(name, subscribers, lambda one: one.subscription.lost),
            "how": how_kept(kept) if kept is not None else "",
            "length": count(kept.length) if kept is not None else "",
            "size": size_of(kept.size) if kept is not None else "",
            "each": size_of(found.size) if found.size is not None else "",
            "letters": count(kept.letters) if kept is not None else "",
            "dead": f"/dead?topic={name}" if kept is not None and kept.letters else "",
        }
        last, unread = await _last(visit, name) if kept is not None and not visit.is_again else ([], "")
        return frame(
            visit,
            {**fields, "unread": unread},
            {
                "senders": [_sender(one, at) for at, one in enumerate(senders)],
                "subscribers": [_subscriber(one, at) for at, one in enumerate(subscribers)],
                "groups": group_items(kept, snapshot.durable) if kept is not None else [],
                "last": last,
            },
        )


async def last_messages(bus: Bus, topic: str, values: int = MOST) -> list[Item]:
    """The newest messages that a stream has, the newest first, each with so many values. Raises RedisError."""
    found = await bus.commands.execute("XREVRANGE", bus.names.stream(topic), "+", "-", "COUNT", LAST)
    bodies = ((entry.decode(), body_of(fields)) for entry, fields in found)
    return [message_of(topic, entry, body, values) for entry, body in bodies if body]


def not_read(error: RedisError) -> str:
    """What to say where ``last_messages`` failed: Redis went away just now, or something else lies in that place."""
    return f"The last messages could not be read: {error}"


async def _last(visit: Visit, topic: str) -> tuple[list[Item], str]:
    """Them, and why there are none if they could not be read; where Redis is silent the page says that anyhow."""
    if visit.hive is None or visit.snapshot.silent_since is not None:
        return [], ""
    try:
        return await last_messages(visit.hive.bus, topic, RENDERED), ""
    except RedisError as error:
        return [], not_read(error)


def _of_topic(name: str, subscribers: Sequence[HearingView], total: Callable[[HearingView], int]) -> str:
    """A total of all subscribers; a dash where one of them counts by a pattern, which has other topics, too."""
    if any(one.subscription.record.pattern != name for one in subscribers):
        return "–"
    return count(sum(map(total, subscribers)))


def _checked(name: str) -> str:
    try:
        return check_pattern(name)
    except InvalidName as error:
        raise NotFound(str(error)) from None


def _sender(one: SendingView, at: int) -> Item:
    record = one.service.record
    state, error = (record.state, record.error) if isinstance(record, ServiceRecord) else ("", "")
    return item(
        f"{at}/{one.instance.record.instance}",
        state,
        {
            "instance": one.instance.record.instance,
            "link": f"/nodes/{one.instance.record.node}",
            "topic": record.name,
            "state": state,
            "rate": rate(one.service.rate),
            "sent": count(record.sent),
            "error": error,
        },
    )


def _subscriber(one: HearingView, at: int) -> Item:
    record = one.subscription.record
    return item(
        f"{at}/{one.instance.record.instance}",
        "",
        {
            "instance": one.instance.record.instance,
            "link": f"/nodes/{one.instance.record.node}",
            "pattern": record.pattern,
            "handler": record.handler,
            "group": f"group {record.group}" if record.group else "",
            "rate": rate(one.subscription.rate),
            "p99": lapse(one.subscription.p99),
            "received": count(record.received),
            "lost": count(one.subscription.lost),
            "failed": count(record.failed + record.invalid),
            "inbox": count(record.inbox),
            "error": record.error,
        },
    )
