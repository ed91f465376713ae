"""What lies in the hashes of durable delivery: topics that are kept, and groups that read them. Read it as hostile."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..bus.streams import NOBODY
from ..errors import ConfigurationError
from ..message import is_count
from ..retention import Retention, check_keep
from ..since import check_since
from ..topics import check_pattern, is_topic, matches

_GROUP = re.compile(r"[!-~]{1,128}")  # a program of another kind may call its group what it likes
UNSEEN = 120_000  #: milliseconds after which a group that nobody has seen counts as retired


@dataclass(frozen=True, slots=True)
class KeptTopic:
    """A topic that is kept since ``at``; a sender of it was last ``seen`` then. Times are unix milliseconds by Redis's
    clock. ``durable`` and ``keep`` are the words of the sender.
    """

    topic: str
    at: int
    durable: bool = True
    keep: str | None = None
    seen: int = 0

    @property
    def retention(self) -> Retention:
        """How much of it is kept."""
        return Retention.of(self.durable, self.keep)

    def entry(self) -> bytes:
        """As it is entered."""
        return orjson.dumps({"at": self.at, "durable": self.durable, "keep": self.keep, "seen": self.seen})


@dataclass(frozen=True, slots=True)
class Reading:
    """A group that reads what matches ``pattern``, since ``at``; ``since`` says where it begins on older topics.

    ``node`` is who reads; it was last ``seen``, alive or at least in a configuration, then (0: an older version, that
    does not say). Since ``retired``, unless that is 0, the group holds nothing back any more.
    """

    group: str
    pattern: str
    since: str
    at: int
    node: str = ""
    seen: int = 0
    retired: int = 0

    def entry(self, **changed: int) -> bytes:
        """As it is entered, with what has ``changed``."""
        said = {"since": self.since, "at": self.at, "node": self.node, "seen": self.seen, "retired": self.retired}
        return orjson.dumps(said | changed)

    def is_retired(self, now: int) -> bool:
        """Whether nobody has seen it for a while, at ``now`` in unix milliseconds: its node left the
        configuration, or reads something else.
        """
        return self.retired > 0 or 0 < self.seen < now - UNSEEN


def idle_groups(topic: str, readings: Collection[Reading]) -> set[str]:
    """The groups that hold nothing back on ``topic`` any more, because they retired long ago."""
    return _all_of(topic, readings, lambda one: one.retired > 0)


def retired_groups(topic: str, readings: Collection[Reading], now: int) -> set[str]:
    """The groups that have retired from ``topic``, at ``now`` in unix milliseconds."""
    return _all_of(topic, readings, lambda one: one.is_retired(now))


def _all_of(topic: str, readings: Collection[Reading], is_so: Callable[[Reading], bool]) -> set[str]:
    fitting = [one for one in readings if matches(one.pattern, topic)]
    return {one.group for one in fitting} - {one.group for one in fitting if not is_so(one)}


def retired(readings: Sequence[Reading], now: int) -> list[Reading]:
    """Who has retired, and since when it was not ``seen``; those whose ``retired`` is not 0 hold nothing back."""
    return [one for one in readings if one.is_retired(now)]


def _object(raw: bytes) -> dict[str, Any]:
    """An entry of ours; what is none is empty."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) and is_count(value.get("at")) else {}


def _time(said: dict[str, Any], name: str) -> int:
    value = said.get(name)
    return int(value) if value is not None and is_count(value) else 0


def topic_from(name: str, raw: bytes) -> KeptTopic | None:
    """What was entered of a topic; None if that is garbage.

    What does not say how it is kept is durable, as it was before one could say.
    """
    if not is_topic(name) or not (said := _object(raw)):
        return None
    try:
        keep = None if said.get("keep") is None else check_keep(said["keep"])
    except ConfigurationError:
        keep = None
    durable = keep is None or said.get("durable") is not False
    return KeptTopic(name, said["at"], durable, keep, _time(said, "seen") or said["at"])


def reading_from(name: str, raw: bytes) -> Reading | None:
    """What was entered of a group that reads; None if that is garbage."""
    group, _, pattern = name.partition(" ")
    if not (said := _object(raw)):
        return None
    node = said.get("node")
    try:
        since = check_since(said.get("since"))
        check_pattern(pattern)
    except ConfigurationError:
        return None
    if not _GROUP.fullmatch(group) or group == NOBODY:
        return None
    node = node if isinstance(node, str) and node else group
    return Reading(group, pattern, since, said["at"], node, _time(said, "seen"), _time(said, "retired"))
