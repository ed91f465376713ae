"""Every topic of a hive with all that is known of it: who sends, who hears, how fast, and what is kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..data.backlog import TopicBacklog
from ..topics import is_pattern, is_topic, matches
from .graph import natural
from .snapshot import InstanceView, SentView, ServiceView, Snapshot, SubscriptionView
from .traffic import Hints, Topic, Traffic, is_sound, traffic


@dataclass(frozen=True, slots=True)
class TopicView:
    """One topic, and how many messages a second are sent on it; None until that is known.

    ``kept`` is what lies in its stream, None where it is not kept.
    """

    topic: Topic
    rate: float | None = None
    kept: TopicBacklog | None = None

    @property
    def size(self) -> float | None:
        """How many bytes of Redis's memory a message of it takes on average; None where none is kept."""
        return self.kept.size / self.kept.length if self.kept is not None and self.kept.length else None


@dataclass(frozen=True, slots=True)
class SendingView:
    """One service on a topic, or what an instance sends there beside its services, and in which instance."""

    instance: InstanceView
    service: ServiceView | SentView


@dataclass(frozen=True, slots=True)
class HearingView:
    """One subscription that hears a topic, and in which instance."""

    instance: InstanceView
    subscription: SubscriptionView


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics, and what else ``traffic`` says."""

    views: tuple[TopicView, ...]
    traffic: Traffic

    def of(self, name: str) -> TopicView:
        """What is known of ``name``, which may be nothing but what it is likely to mean."""
        known = next((one for one in self.views if one.topic.topic == name), None)
        return known or TopicView(Topic(name, (), (), self._note(name)))

    def _note(self, name: str) -> str:
        """What is odd about a topic on which nobody sends; "" of one that is heard all the same."""
        waiting = {one.pattern: one.note for one in self.traffic.unfed}
        heard = {one.pattern for topic in self.traffic.topics for one in topic.subscribers}
        heard |= waiting.keys() | {one.pattern for one in self.traffic.outside}
        if any(matches(pattern, name) for pattern in heard):
            return waiting.get(name, "")
        hint = Hints([*(one.topic.topic for one in self.views), *sorted(heard)]).near(name)
        return f"nobody sends on it, and nobody listens{hint}"


def topics_of(snapshot: Snapshot, announced: Sequence[str] = ()) -> Topics:
    """All topics that nodes send on, that are kept, or that were ``announced``, as names are counted: ``t.2`` before
    ``t.10``.
    """
    kept = {one.kept.topic: one for one in snapshot.durable.state.topics}
    found = traffic([view.record for view in snapshot.instances], [*kept, *announced])
    rates = _rates(snapshot.instances)
    views = [TopicView(one, rates.get(one.topic), kept.get(one.topic)) for one in found.topics]
    return Topics(tuple(sorted(views, key=lambda one: natural(one.topic.topic))), found)


def sending(snapshot: Snapshot, topic: str) -> list[SendingView]:
    """What living instances send on ``topic``."""
    return [
        SendingView(view, one)
        for view in _living(snapshot)
        for one in view.sending
        if is_topic(one.record.name) and _is_meant(topic, one.record.name)
    ]


def hearing(snapshot: Snapshot, topic: str) -> list[HearingView]:
    """The subscriptions of living instances that hear ``topic``; of a pattern, those that ask for just that."""
    return [HearingView(view, one) for view in _living(snapshot) for one in view.subscriptions if _hears(one, topic)]


def _hears(one: SubscriptionView, topic: str) -> bool:
    pattern = one.record.pattern
    return pattern == topic or (not is_pattern(topic) and is_sound(pattern) and matches(pattern, topic))


def narrowed(views: Sequence[TopicView], words: str) -> list[TopicView]:
    """Those whose name, senders or subscribers have each of ``words``."""
    wanted = words.casefold().split()
    return [one for one in views if all(any(word in name for name in _names(one.topic)) for word in wanted)]


def _names(topic: Topic) -> Iterable[str]:
    yield topic.topic.casefold()
    yield from (one.node.casefold() for one in topic.senders)
    yield from (one.node.casefold() for one in topic.subscribers)


def _is_meant(asked: str, topic: str) -> bool:
    return matches(asked, topic) if is_pattern(asked) else asked == topic


def _living(snapshot: Snapshot) -> Iterable[InstanceView]:
    return (view for view in snapshot.instances if not view.record.is_lost)


def _rates(instances: Iterable[InstanceView]) -> dict[str, float]:
    found: dict[str, float] = {}
    for view in instances:
        for one in () if view.record.is_lost else view.sending:
            if one.rate is not None:
                found[one.record.name] = found.get(one.record.name, 0.0) + one.rate
    return found
