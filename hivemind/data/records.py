"""What the registry says of an instance, as values. Fields that Redis holds are hostile until read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from itertools import islice
from typing import Any

import orjson

from ..identity import ProcessIdentity
from .histogram import Packed, packed_from

BROKEN = "broken"  #: the state of a member that could not be loaded
MOST_OF_PAYLOADS = 8192  #: characters of what an instance says of payloads that are read
MINUTE, HOUR = 60.0, 3600.0  #: seconds that are meant by what is said of the last minute, and of the last hour
MOST_ENTRIES = 1000  #: services, subscriptions, and members, of one instance that are read
MOST_METADATA = 100  #: pairs
LONGEST = 4096  #: characters of a text
MOST_COUNTED = 10**15  #: of anything; thousands of such counts together still are a number that JSON has
COUNTS = range(MOST_COUNTED + 1)
LATEST = 1e12  #: seconds; no moment is later, and nothing takes longer


Recent = Mapping[str, int] | None
"""By how much counts grew in the last hour, without those that did not; None where an older version does not say."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One service of an instance and what it did since the instance began; whose, if several nodes share it.

    ``kept`` says whether what it sends is: "kept", "live" (it is not), or "" (an older version, that does not say).
    It failed ``failed_lately`` times in the last minute.
    """

    name: str
    state: str = "waiting"
    sent: int = 0
    restarts: int = 0
    error: str = ""
    member: str = ""
    kept: str = ""
    failed_lately: int = 0


@dataclass(frozen=True, slots=True)
class SentRecord:
    """A topic on which an instance sends though none of its services is called so: from a handler, or a hook; and how
    many messages since it began.
    """

    name: str
    sent: int = 0


@dataclass(frozen=True, slots=True)
class SubscriptionRecord:
    """One subscription of an instance and its ledger.

    ``received`` reached the process; of these ``handled`` returned, ``failed`` raised, ``invalid`` did not fit
    the annotation, ``dropped`` found the inbox full. ``missed`` never came, ``filled`` came afterwards
    from what is kept (and counts as received), ``duplicate`` came twice and
    ``stale`` came from an older incarnation: neither of the last two reaches a handler. ``member`` says whose it is
    where several nodes share a process.

    A durable one reads in a ``group``. Of its messages Redis knows as many as ``acknowledged``; ``retried`` further
    tries were begun, ``dead`` ones became dead letters, and the stream ``lost`` some before they were handled.
    ``pending`` are in its hands now, of which ``parked`` wait for their next try; one handler has been running for
    ``longest`` seconds.

    ``times`` are how long its handler took, ``delays`` how long messages took from being sent to its handler.
    Its handler failed ``failed_lately`` times in the last minute, and returned ``handled_lately`` times; ``lately`` has
    what of these counts that should be 0 is of the last hour, None where an older version does not say.
    """

    pattern: str
    handler: str = ""
    workers: int = 1
    received: int = 0
    handled: int = 0
    failed: int = 0
    invalid: int = 0
    dropped: int = 0
    missed: int = 0
    filled: int = 0
    duplicate: int = 0
    stale: int = 0
    malformed: int = 0
    inbox: int = 0
    error: str = ""
    member: str = ""
    group: str = ""
    acknowledged: int = 0
    retried: int = 0
    dead: int = 0
    lost: int = 0
    pending: int = 0
    parked: int = 0
    longest: int = 0
    times: Packed = ()
    delays: Packed = ()
    failed_lately: int = 0
    handled_lately: int = 0
    lately: Recent = None


@dataclass(frozen=True, slots=True)
class ResponderRecord:
    """One responder of an instance: of the requests that it got, ``handled`` were answered, ``failed`` raised,
    ``invalid`` did not fit it, ``cancelled`` were not wanted any more, or too late; ``in_hand`` are the others.
    ``times`` are how long its handler took, ``delays`` how long requests took from being sent to its handler;
    ``failed_lately``, ``handled_lately`` and ``lately`` are as of a subscription.
    """

    name: str
    handler: str = ""
    workers: int = 1
    received: int = 0
    handled: int = 0
    failed: int = 0
    invalid: int = 0
    cancelled: int = 0
    in_hand: int = 0
    error: str = ""
    member: str = ""
    times: Packed = ()
    delays: Packed = ()
    failed_lately: int = 0
    handled_lately: int = 0
    lately: Recent = None


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """One of several nodes that share a process: a NodeState, or ``broken`` when it could not be loaded.

    ``error`` says why it does not run; a member that is ``starting`` and has one is tried again. ``waits_for`` says
    what it needs that is not there, while it is ``waiting``.
    """

    name: str
    state: str = ""
    error: str = ""
    waits_for: str = ""

    @property
    def fault(self) -> str:
        """Why it does not run, in a sentence; "" when nothing is known to be wrong."""
        if not self.error:
            return ""
        what = "cannot be loaded" if self.state == BROKEN else "cannot start and is tried again"
        return f"{self.name} {what}: {self.error}"


@dataclass(frozen=True, slots=True)
class About:
    """What an instance says of itself once, when it registers. ``payloads`` are the JSON Schemas of what the
    handlers of its nodes take, as text: see ``node.payload_types``.
    """

    node: str
    host: str
    pid: int
    started: float
    lease: float
    process: ProcessIdentity | None = None
    watched: bool = True
    version: str = ""
    python: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    payloads: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """What an instance says of itself every beat. ``members`` are the nodes that share its process, if several do.

    Of the messages in its ``outbox`` at least so many are ``overdue``: they have waited there for more than 2 s;
    ``unconfirmed`` says why Redis does not confirm them, if it has taken them. ``outage`` says in words when and why
    the process was last without Redis. ``unsent`` messages of it never left: Redis refused them, or they were the
    oldest of a full outbox that drops these. ``log_lost`` lines of its log could not be written. ``waits_for`` says in
    words what it needs that is not there, while it is ``waiting``. Its process has ``memory`` bytes of the machine's,
    and used ``cpu`` of one processor since the beat before: 1.0 is all of it. Beside its services it ``sends`` on these
    topics; of very many on those that it used last.
    ``lately`` says how much of ``unsent`` and ``log_lost`` is of the last hour.
    """

    state: str = "running"
    services: tuple[ServiceRecord, ...] = ()
    subscriptions: tuple[SubscriptionRecord, ...] = ()
    outbox: int = 0
    gaps: int = 0
    members: tuple[MemberRecord, ...] = ()
    overdue: int = 0
    responders: tuple[ResponderRecord, ...] = ()
    unconfirmed: str = ""
    outage: str = ""
    log_lost: int = 0
    unsent: int = 0
    waits_for: str = ""
    memory: int = 0
    cpu: float = 0.0
    sends: tuple[SentRecord, ...] = ()
    lately: Recent = None


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a node, as the registry has it.

    ``expires`` is when its lease ends, in unix seconds by Redis's clock; None when the lease has ended: then the
    instance is ``lost`` and the rest is what could be known without it.
    """

    instance: str
    incarnation: int
    expires: float | None
    about: About
    stats: Stats

    @property
    def node(self) -> str:
        """The node of which this is a copy."""
        return self.instance.rpartition(".")[0]

    @property
    def number(self) -> int:
        """Which copy this is, from 0."""
        return int(self.instance.rpartition(".")[2])

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that run in it: those that share its process, else its own."""
        return tuple(each.name for each in self.stats.members) or (self.node,)

    @property
    def state(self) -> str:
        """A NodeState, or ``lost`` when the lease has ended without a goodbye."""
        return self.stats.state if self.expires is not None else "lost"

    @property
    def waits(self) -> tuple[tuple[str, str], ...]:
        """Who in it waits for what it needs: names, each with what is not there, in words."""
        own = [(self.instance, self.stats.waits_for)] if self.stats.waits_for else []
        members = [(f"{each.name} of {self.instance}", each.waits_for) for each in self.stats.members if each.waits_for]
        return () if self.is_lost else (*own, *members)

    @property
    def is_lost(self) -> bool:
        """Whether the lease ended without a goodbye."""
        return self.expires is None

    def to_json(self) -> dict[str, Any]:
        """One flat object for ``--json`` and the page; stable names."""
        about, stats = asdict(self.about), asdict(self.stats)
        about.pop("node")
        about.pop("payloads")
        return {
            "instance": self.instance,
            "node": self.node,
            "number": self.number,
            "incarnation": self.incarnation,
            "expires": self.expires,
            **about,
            **stats,
            "state": self.state,
        }


def about_from(raw: Mapping[str, Any], instance: str) -> About:
    """Read ``About`` from stored JSON; what is missing or of the wrong type gets a harmless value."""
    metadata, payloads = raw.get("metadata"), raw.get("payloads")
    return About(
        node=instance.rpartition(".")[0],
        host=_text(raw.get("host")),
        pid=_whole(raw.get("pid")),
        started=_number(raw.get("started")),
        lease=_number(raw.get("lease")),
        process=_process(raw.get("process")),
        watched=raw.get("watched") is not False,
        version=_text(raw.get("version")),
        python=_text(raw.get("python")),
        metadata=_metadata(metadata) if isinstance(metadata, dict) else {},
        payloads=payloads if isinstance(payloads, str) and len(payloads) <= MOST_OF_PAYLOADS else "",
    )


def stats_from(raw: Mapping[str, Any]) -> Stats:
    """Read ``Stats`` from stored JSON; what is missing or of the wrong type gets a harmless value."""
    return Stats(
        state=_text(raw.get("state")) or "running",
        services=tuple(_record(ServiceRecord, entry) for entry in _objects(raw.get("services"))),
        subscriptions=tuple(_record(SubscriptionRecord, entry) for entry in _objects(raw.get("subscriptions"))),
        outbox=_whole(raw.get("outbox")),
        gaps=_whole(raw.get("gaps")),
        members=tuple(_record(MemberRecord, entry) for entry in _objects(raw.get("members"))),
        overdue=_whole(raw.get("overdue")),
        responders=tuple(_record(ResponderRecord, entry) for entry in _objects(raw.get("responders"))),
        unconfirmed=_text(raw.get("unconfirmed")),
        outage=_text(raw.get("outage")),
        log_lost=_whole(raw.get("log_lost")),
        unsent=_whole(raw.get("unsent")),
        waits_for=_text(raw.get("waits_for")),
        memory=_whole(raw.get("memory")),
        cpu=_number(raw.get("cpu")),
        sends=tuple(_record(SentRecord, entry) for entry in _objects(raw.get("sends"))),
        lately=_recent(raw.get("lately")),
    )


def json_object(raw: bytes | str | None) -> dict[str, Any]:
    """The object that is stored as JSON; an empty one for what is none."""
    try:
        value = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _metadata(raw: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name)[:LONGEST]: _text(value) for name, value in islice(raw.items(), MOST_METADATA)}


def _process(raw: object) -> ProcessIdentity | None:
    try:
        return ProcessIdentity.from_json(raw)
    except (ValueError, OverflowError):
        return None


def _record(kind: type[Any], raw: Mapping[str, Any]) -> Any:
    get = raw.get
    return kind(
        *[
            value if (value := get(name, default)).__class__ is plain and value in COUNTS else read(value)
            for name, plain, read, default in _READERS[kind]
        ]
    )


def _objects(raw: object) -> list[Mapping[str, Any]]:
    return [entry for entry in raw[:MOST_ENTRIES] if isinstance(entry, dict)] if isinstance(raw, list) else []


def _text(raw: object) -> str:
    return raw[:LONGEST] if isinstance(raw, str) else ""


def _whole(raw: object) -> int:
    return max(0, min(raw, MOST_COUNTED)) if isinstance(raw, int) and not isinstance(raw, bool) else 0


def _number(raw: object) -> float:
    return max(0.0, min(float(raw), LATEST)) if isinstance(raw, int | float) and not isinstance(raw, bool) else 0.0


def _recent(raw: object) -> Recent:
    """Counts by name; None where that is not said."""
    if not isinstance(raw, dict):
        return None
    return {name: count for name, count in raw.items() if isinstance(name, str) and 0 < _whole(count) == count}


_READ: Mapping[str, Any] = {"int": _whole, "str": _text, "Packed": packed_from, "Recent": _recent}
#: for each field of a kind of record: its name, the class of what is taken as it is, how all else is read, and what it
#: is where nothing is stored
_READERS: Mapping[type, list[tuple[str, type | None, Any, Any]]] = {
    kind: [
        (one.name, {"int": int}.get(str(one.type)), _READ[str(one.type)], "" if one.default is MISSING else one.default)
        for one in fields(kind)
    ]
    for kind in (ServiceRecord, SentRecord, SubscriptionRecord, ResponderRecord, MemberRecord)
}


def of_process(instances: Iterable[Instance], process: ProcessIdentity, node: str) -> Instance | None:
    """The living instance that this very process, which is a copy of ``node``, registered. Another node may write into
    its own record that it is this process: it is not believed.
    """
    for instance in instances:
        if not instance.is_lost and instance.about.process == process and instance.node == node:
            return instance
    return None
