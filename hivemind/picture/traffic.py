"""Who sends and who listens, topic by topic: from the registry, pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from heapq import nlargest
from typing import Any

from ..constants import did_you_mean
from ..data.records import Instance
from ..errors import InvalidName
from ..patterns import PatternTable
from ..topics import WILD, check_pattern, is_pattern, is_topic

COMPARED = 32  #: names with which one that nothing matches is compared in full
ALIKE = 0.8  #: from which on what stands around a pattern's wildcards is likely a slip of the pen, of 1
LEAST = 4  #: characters that have to be there beside the wildcards
MOST_HINTS = 20  #: names of a hive of which it is said what they may mean


@dataclass(frozen=True, slots=True)
class Sender:
    """One instance that sends on the topic, and how much since it began.

    ``member`` is the node whose service it is, where several share the process; "" where no service sends it.
    """

    instance: str
    sent: int
    member: str = ""

    @property
    def node(self) -> str:
        """The node that sends it; where several share a process, and no service sends it, that process."""
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
    """One topic on which a node sends, or that was announced; ``note`` says so if nobody listens to it."""

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
    """One pattern that no node feeds and by which nothing came."""

    pattern: str
    subscribers: tuple[Subscriber, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Outside:
    """One pattern that no node feeds, but by which something came: who sent it is no node of those that live."""

    pattern: str
    subscribers: tuple[Subscriber, ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """All topics that nodes send on, all patterns that wait in vain, and those that something else feeds."""

    topics: tuple[Topic, ...]
    unfed: tuple[Unfed, ...]
    outside: tuple[Outside, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; stable names."""
        topics = [{**asdict(one), "sent": one.sent} for one in self.topics]
        unfed = [{**asdict(one), "subscribers": [each.who for each in one.subscribers]} for one in self.unfed]
        return {"topics": topics, "unfed": unfed}


def traffic(instances: Sequence[Instance], announced: Sequence[str] = ()) -> Traffic:
    """Who sends and who listens now. Topics on which no node sends are known where they are ``announced``."""
    alive = [one for one in instances if not one.is_lost]
    senders: dict[str, list[Sender]] = {}
    subscribers: dict[str, list[Subscriber]] = {}
    for each in alive:
        for service in each.stats.services:
            senders.setdefault(service.name, []).append(Sender(each.instance, service.sent, service.member))
        for other in each.stats.sends:
            senders.setdefault(other.name, []).append(Sender(each.instance, other.sent))
        for one in each.stats.subscriptions:
            subscribers.setdefault(one.pattern, []).append(
                Subscriber(each.instance, one.pattern, one.received, one.member)
            )
    senders = {topic: group for topic, group in senders.items() if is_topic(topic)}
    senders |= {topic: [] for topic in announced if topic not in senders}
    return _matched(senders, {pattern: group for pattern, group in subscribers.items() if is_sound(pattern)})


def _matched(senders: dict[str, list[Sender]], subscribers: dict[str, list[Subscriber]]) -> Traffic:
    """Who hears what: with a thousand topics and as many patterns these are not compared one by one."""
    table: PatternTable[str] = PatternTable()
    order = {pattern: at for at, pattern in enumerate(subscribers)}
    exact = [pattern for pattern in subscribers if not is_pattern(pattern)]
    for pattern in subscribers.keys() - exact:
        table.add(pattern, pattern)
    named = frozenset(exact)
    heard = {topic: sorted([*table.of(topic), *({topic} & named)], key=order.__getitem__) for topic in sorted(senders)}
    alone = sorted(subscribers.keys() - {pattern for found in heard.values() for pattern in found})
    fed = {pattern for pattern in alone if any(one.received for one in subscribers[pattern])}
    to_patterns, to_topics = Hints([*exact, *(subscribers.keys() - exact)]), Hints(list(senders))
    topics = (
        Topic(
            topic,
            tuple(senders[topic]),
            tuple(one for pattern in found for one in subscribers[pattern]),
            "" if found else f"nobody listens{to_patterns.near(topic)}",
        )
        for topic, found in heard.items()
    )
    unfed = (
        Unfed(pattern, tuple(subscribers[pattern]), f"no service sends on it{to_topics.near(pattern)}")
        for pattern in alone
        if pattern not in fed
    )
    outside = (Outside(pattern, tuple(subscribers[pattern])) for pattern in alone if pattern in fed)
    return Traffic(tuple(topics), tuple(unfed), tuple(outside))


class Hints:
    """Which of the ``known`` names somebody may have meant: of many, those are compared that begin and end alike, and
    MOST_HINTS are given.
    """

    def __init__(self, known: Sequence[str]) -> None:
        self._known, self._given = known, 0

    def near(self, name: str) -> str:
        """The end of a sentence about ``name``; "" where nothing is like it."""
        self._given += 1
        if self._given > MOST_HINTS:
            return ""
        near = self._known
        if len(near) > COMPARED:
            near = nlargest(COMPARED, near, key=lambda one: _alike(name, one))
        same = [one for one in near if not is_pattern(one)]
        if hint := did_you_mean(name, same):
            return hint
        alike = ((_slipped(*sorted((name, one), key=is_pattern)), one) for one in near if is_pattern(name + one))
        found = max(alike, default=(0.0, ""))
        return f", did you mean {found[1]}?" if found[0] >= ALIKE else ""


def _slipped(topic: str, pattern: str) -> float:
    """How much ``topic`` is like what stands before the first, and after the last, wildcard of ``pattern``; up to 1."""
    ends = [at for at, char in enumerate(pattern) if char in f"{WILD}]"]
    head, tail = pattern[: ends[0]], pattern[ends[-1] + 1 :]
    if len(head + tail) < LEAST:
        return 0.0
    lengths = range(max(0, len(head) - 1), len(head) + 2)  # a letter too few, or too many
    begins = max(SequenceMatcher(None, head, topic[:length]).ratio() for length in lengths)
    return min(begins, SequenceMatcher(None, tail, topic[len(topic) - len(tail) :]).ratio()) if tail else begins


def _alike(name: str, other: str) -> int:
    """How many characters they have in common at their beginning and end."""
    return _common(name, other) + _common(name[::-1], other[::-1])


def _common(name: str, other: str) -> int:
    for at, (mine, its) in enumerate(zip(name, other, strict=False)):
        if mine != its:
            return at
    return min(len(name), len(other))


def is_sound(pattern: str) -> bool:
    """Whether a pattern from the registry can be one: anybody may write there."""
    try:
        check_pattern(pattern)
    except InvalidName:
        return False
    return True
