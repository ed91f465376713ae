"""Who sends what to whom, as a picture has it: senders | topics | subscribers. Pure; the copies of a node are one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from ..data.records import Instance
from ..topics import is_topic, matches
from .flows import NONE, RESPONDER, SERVICE, SUBSCRIPTION, Flow, Way, added, flows_of, together
from .snapshot import InstanceView
from .traffic import Sender, Subscriber, Traffic, traffic

DIGITS = 20  #: of a number that are compared as one
LONGEST = 160  #: characters of a text in a picture
FEWEST = 3  #: names that differ by their last number alone, which a picture makes one
LAST_NUMBER = re.compile(r"(.*?)(\d{1,18})(\D*)", re.DOTALL)  #: what is before it, it, and what is behind it

_NUMBER = re.compile(r"(\d+)")


class Kind(StrEnum):
    """What stands in the middle of a row."""

    TOPIC = "topic"  # a service sends on it, or it was announced
    PATTERN = "pattern"  # what a subscription asks for, where no topic matches
    REQUESTS = "requests"  # a name that responders answer; the registry does not know who asks


@dataclass(frozen=True, slots=True)
class Sending:
    """A node that sends on a topic: by which instances, how much since they began, and how much a second (None: that is
    not known).
    """

    node: str
    instances: tuple[str, ...]
    sent: int
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Hearing:
    """A node that hears a topic: in which instances, by which patterns, and how much came by these since they began.

    Of what should have come ``lost`` reached no handler since they began, ``losing`` a second. A pattern counts all of
    its topics together.
    """

    node: str
    instances: tuple[str, ...]
    patterns: tuple[str, ...]
    received: int
    rate: float | None = None
    lost: int = 0
    losing: float | None = None


End = Sending | Hearing
Party = TypeVar("Party", Sender, Subscriber)
Flows = Mapping[Way, Flow]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is sent, with both of its sides; ``note`` says what is wrong with it, "" if nothing is."""

    name: str
    kind: Kind
    senders: tuple[Sending, ...] = ()
    subscribers: tuple[Hearing, ...] = ()
    note: str = ""

    @property
    def sent(self) -> int:
        """By all of its senders since they began."""
        return sum(one.sent for one in self.senders)

    @property
    def rate(self) -> float | None:
        """Messages a second by all of its senders; of a pattern or a name that is asked, by all who hear it."""
        return added(one.rate for one in (self.senders if self.kind is Kind.TOPIC else self.subscribers))

    @property
    def lost(self) -> int:
        """How many of its subscribers' messages reached no handler since they began."""
        return sum(one.lost for one in self.subscribers)


@dataclass(frozen=True, slots=True)
class Graph:
    """All that is sent in a hive: topics first, then patterns without a topic, then requests; each by name."""

    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``--format json`` and the page; stable names."""
        return {"rows": [{**asdict(row), "sent": row.sent, "rate": row.rate} for row in self.rows]}


def graph(instances: Sequence[Instance], announced: Sequence[str] = (), seen: Iterable[InstanceView] = ()) -> Graph:
    """What the living instances send, hear and answer. ``announced`` topics are shown though no service sends them;
    those of the instances that were ``seen`` have rates.
    """
    found, flows = traffic(instances, announced), flows_of(instances, seen)
    rows = [*_topics(found, flows), *_patterns(found, flows), *_requests(instances, flows)]
    return Graph(tuple(sorted(rows, key=place)))


def place(row: Row) -> tuple[object, ...]:
    """What rows are sorted by."""
    return list(Kind).index(row.kind), natural(row.name)


def narrowed(whole: Graph, pattern: str) -> Graph:
    """The rows whose name ``pattern`` matches, or the name of a node on either side."""
    return Graph(tuple(row for row in whole.rows if any(matches(pattern, name) for name in _names(row))))


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """A key that puts ``t.2`` before ``t.10``."""
    parts = _NUMBER.split(name)
    return tuple(zip(parts[::2], [int(digits[:DIGITS]) for digits in [*parts[1::2], "0"]], strict=True))


def copies(node: str, count: int) -> str:
    """How a node with so many instances is called."""
    return f"{node} ×{count}" if count > 1 else node


def called(row: Row) -> str:
    """How the middle of a row is called."""
    return f"{row.name} (requests)" if row.kind is Kind.REQUESTS else row.name


def parties(sides: Iterable[Sequence[End]]) -> dict[str, str]:
    """The nodes of one side of a picture, each with how it is called, by name."""
    found: dict[str, set[str]] = {}
    for ends in sides:
        for end in ends:
            found.setdefault(end.node, set()).update(end.instances)
    return {node: copies(node, len(found[node])) for node in sorted(found, key=natural)}


def visible(text: str) -> str:
    """``text`` for a picture: what cannot be printed is replaced, and what is too long to be a name is cut off."""
    shown = "".join(one if one.isprintable() else "\ufffd" for one in text[: LONGEST + 1])
    return f"{shown[:LONGEST]}…" if len(shown) > LONGEST else shown


def _names(row: Row) -> Iterable[str]:
    yield row.name
    yield from (end.node for end in row.senders)
    yield from (end.node for end in row.subscribers)


def _topics(found: Traffic, flows: Flows) -> Iterable[Row]:
    for one in found.topics:
        senders = _sending(one.senders, one.topic, flows)
        yield Row(one.topic, Kind.TOPIC, senders, _hearing(one.subscribers, flows), one.note)


def _patterns(found: Traffic, flows: Flows) -> Iterable[Row]:
    for one in found.unfed:
        yield Row(one.pattern, Kind.PATTERN, (), _hearing(one.subscribers, flows), one.note)
    for fed in found.outside:
        yield Row(fed.pattern, Kind.PATTERN, (), _hearing(fed.subscribers, flows))


def _requests(instances: Sequence[Instance], flows: Flows) -> Iterable[Row]:
    answering: dict[str, list[Subscriber]] = {}
    for one in instances:
        for each in () if one.is_lost else one.stats.responders:
            answering.setdefault(each.name, []).append(Subscriber(one.instance, "", each.received, each.member))
    for name, group in answering.items():
        if is_topic(name):  # anybody may write there
            yield Row(name, Kind.REQUESTS, (), _hearing(group, flows, name))


def _sending(group: Sequence[Sender], topic: str, flows: Flows) -> tuple[Sending, ...]:
    return tuple(
        Sending(
            node,
            tuple(dict.fromkeys(one.instance for one in each)),
            sum(one.sent for one in each),
            flows.get((SERVICE, node, topic), NONE).rate,
        )
        for node, each in _by_node(group)
    )


def _hearing(group: Sequence[Subscriber], flows: Flows, name: str = "") -> tuple[Hearing, ...]:
    """Those who hear a topic, each by its patterns, or answer the requests of ``name``."""
    found = []
    for node, each in _by_node(group):
        patterns = _sorted({one.pattern for one in each if one.pattern})
        ways = [(SUBSCRIPTION, node, pattern) for pattern in patterns] or [(RESPONDER, node, name)]
        flow = together([flows.get(way, NONE) for way in ways])
        instances = tuple(dict.fromkeys(one.instance for one in each))
        received = sum(one.received for one in each)
        found.append(Hearing(node, instances, patterns, received, flow.rate, flow.lost, flow.losing))
    return tuple(found)


def _by_node(group: Sequence[Party]) -> Iterable[tuple[str, list[Party]]]:
    found: dict[str, list[Party]] = {}
    for one in group:
        found.setdefault(one.node, []).append(one)
    return ((node, found[node]) for node in _sorted(found.keys()))


def _sorted(names: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=natural)) if len(names) > 1 else tuple(names)
