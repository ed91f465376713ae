"""Who sends and who listens, topic by topic: from the registry, pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..constants import did_you_mean
from ..data.records import Instance
from ..errors import InvalidName
from ..topics import check_pattern, is_pattern, is_topic, matches


@dataclass(frozen=True, slots=True)
class Sender:
    """One instance with a service on the topic, and how much it sent since it began.

    ``member`` is the node whose service it is, where several share the process.
    """

    instance: str
    sent: int
    member: str = ""

    @property
    def node(self) -> str:
        """The node whose service it is."""
        return self.member or self.instance.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One instance with a subscription, and how much reached it by that pattern since it began.

    ``member`` is the node whose subscription it is, where several share the process.
    """

    instance: str
    pattern: str
    received: int
    member: str = ""

    @property
    def node(self) -> str:
        """The node whose subscription it is."""
        return self.member or self.instance.rpartition(".")[0]

    @property
    def who(self) -> str:
        """The instance, and whose subscription it is where that is not clear from it."""
        return f"{self.instance} ({self.member})" if self.member else self.instance


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a service, or that was announced; ``note`` says so if nobody listens to it."""

    topic: str
    senders: tuple[Sender, ...]
    subscribers: tuple[Subscriber, ...]
    note: str = ""

    @property
    def sent(self) -> int:
        """By all of its senders since they began."""
        return sum(one.sent for one in self.senders)


@dataclass(frozen=True, slots=True)
class Unfed:
    """One pattern that no service feeds and by which nothing came."""

    pattern: str
    subscribers: tuple[Subscriber, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Outside:
    """One pattern that no service feeds, but by which something came: who sent it is no node of those that live."""

    pattern: str
    subscribers: tuple[Subscriber, ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """All topics that services send on, all patterns that wait in vain, and those that something else feeds."""

    topics: tuple[Topic, ...]
    unfed: tuple[Unfed, ...]
    outside: tuple[Outside, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; stable names."""
        topics = [{**asdict(one), "sent": one.sent} for one in self.topics]
        unfed = [{**asdict(one), "subscribers": [each.who for each in one.subscribers]} for one in self.unfed]
        return {"topics": topics, "unfed": unfed}


def traffic(instances: Sequence[Instance], announced: Sequence[str] = ()) -> Traffic:
    """Who sends and who listens now. Topics that are no service's are known where they are ``announced``."""
    alive = [one for one in instances if not one.is_lost]
    senders: dict[str, list[Sender]] = {}
    subscribers: dict[str, list[Subscriber]] = {}
    for each in alive:
        for service in each.stats.services:
            senders.setdefault(service.name, []).append(Sender(each.instance, service.sent, service.member))
        for one in each.stats.subscriptions:
            subscribers.setdefault(one.pattern, []).append(
                Subscriber(each.instance, one.pattern, one.received, one.member)
            )
    senders = {topic: group for topic, group in senders.items() if is_topic(topic)}
    senders |= {topic: [] for topic in announced if topic not in senders}
    subscribers = {pattern: group for pattern, group in subscribers.items() if _is_sound(pattern)}
    topics = tuple(_topic(topic, tuple(senders[topic]), subscribers) for topic in sorted(senders))
    alone = [pattern for pattern in sorted(subscribers) if not any(matches(pattern, topic) for topic in senders)]
    fed = {pattern for pattern in alone if any(one.received for one in subscribers[pattern])}
    return Traffic(
        topics,
        tuple(_unfed(pattern, subscribers[pattern], list(senders)) for pattern in alone if pattern not in fed),
        tuple(Outside(pattern, tuple(subscribers[pattern])) for pattern in alone if pattern in fed),
    )


def _is_sound(pattern: str) -> bool:
    """Whether a pattern from the registry can be one: anybody may write there."""
    try:
        check_pattern(pattern)
    except InvalidName:
        return False
    return True


def _topic(topic: str, senders: tuple[Sender, ...], subscribers: dict[str, list[Subscriber]]) -> Topic:
    found = tuple(one for pattern, group in subscribers.items() if matches(pattern, topic) for one in group)
    exact = [pattern for pattern in subscribers if not is_pattern(pattern)]
    return Topic(topic, senders, found, "" if found else f"nobody listens{did_you_mean(topic, exact)}")


def _unfed(pattern: str, group: list[Subscriber], topics: list[str]) -> Unfed:
    return Unfed(pattern, tuple(group), f"no service sends on it{did_you_mean(pattern, topics)}")
