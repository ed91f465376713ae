"""What of a hive's durable delivery is worth a look: who asks in vain, who waits, who is behind, what was given up.

The command line and the page say the same, in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..bus.streams import Streams
from ..english import MOST, amount, duration, listed
from .backlog import GroupBacklog, TopicBacklog, backlogs
from .entries import Reading, retired
from .kept import Kept
from .mismatch import Unkept, mismatches
from .records import Instance

BEHIND = 60.0  #: seconds for which a message may wait to be given to a group until that is told


@dataclass(frozen=True, slots=True)
class Durability:
    """All kept ``topics`` with their groups; readings that are ``waiting`` for a topic, that ask in vain for one that
    is not kept (``unkept``), and that have ``retired``. ``now`` is Redis's time in unix milliseconds.
    """

    topics: tuple[TopicBacklog, ...] = ()
    waiting: tuple[Reading, ...] = ()
    unkept: tuple[Unkept, ...] = ()
    retired: tuple[Reading, ...] = ()
    now: int = 0

    @property
    def letters(self) -> Mapping[str, int]:
        """How many dead letters each topic has, of those that have some."""
        return {one.kept.topic: one.letters for one in self.topics if one.letters}

    @property
    def behind(self) -> list[GroupBacklog]:
        """The groups to which a message was not given for BEHIND seconds, the worst first; none that has retired."""
        found = [
            group
            for topic in self.topics
            for group in topic.groups
            if (group.unread or 0.0) > BEHIND and not group.is_retired
        ]
        return sorted(found, key=lambda one: one.badness, reverse=True)

    def troubles(self) -> list[str]:
        """What is wrong, in clauses of a sentence."""
        return _some([one.text for one in self.unkept], "more topics are not kept though a group reads them durably")

    def notes(self) -> list[str]:
        """What is worth a look, in clauses of a sentence."""
        return list(self.noted())

    def noted(self) -> dict[str, str]:
        """The notes, each with what it is of: waiting, behind or retired; "" for one that says itself what to do."""
        waiting = [f"group {one.group} waits for a kept topic that matches {one.pattern}" for one in self.waiting]
        found = dict.fromkeys(_some(waiting, "more wait for a topic"), "waiting")
        found |= dict.fromkeys(_some([_behind(one) for one in self.behind], "more groups are behind"), "behind")
        unseen = [
            f"group {one.group} has retired from {one.pattern}: {one.node} was not seen for "
            f"{duration((self.now - one.seen) / 1000)}"
            for one in self.retired
        ]
        found |= dict.fromkeys(_some(unseen, "more groups have retired"), "retired")
        if letters := self.letters:
            found[f"{amount(sum(letters.values()), 'dead letter')} on {listed(list(letters))} (`hm dead list`)"] = ""
        return found

    def to_json(self) -> dict[str, Any]:
        """One object; stable names, ages in seconds."""
        return {
            "topics": [one.to_json() for one in self.topics],
            "waiting": [_reading(one) for one in self.waiting],
            "unkept": [{**_reading(one.reading), "topic": one.topic, "instance": one.instance} for one in self.unkept],
            "retired": [{**_reading(one), "unseen": (self.now - one.seen) / 1000} for one in self.retired],
            "dead_letters": dict(self.letters),
            "troubles": self.troubles(),
            "notes": self.notes(),
        }


async def durability(streams: Streams, instances: Sequence[Instance]) -> Durability:
    """Look; ``instances`` are those of the registry. Raises RedisError."""
    kept = Kept(streams)
    topics, readings, now = await kept.topics(), await kept.readings(), await kept.now()
    found = mismatches(instances, topics, readings, now)
    lives = {one.instance: one.incarnation for one in instances if not one.is_lost}
    states = await backlogs(streams.commands, streams.names, topics, readings, lives)
    return Durability(tuple(states), found.waiting, found.unkept, tuple(retired(readings, now)), now)


def _behind(group: GroupBacklog) -> str:
    more = "more than " if group.is_more else ""
    count = amount(group.lag, "message")
    nobody = "" if group.readers else ", and nobody reads in it"
    return f"group {group.group} is {more}{count} behind on {group.topic}, by {duration(group.unread or 0.0)}{nobody}"


def _some(clauses: list[str], more: str) -> list[str]:
    """The first few; how many ``more`` there are."""
    return clauses[:MOST] + ([f"{len(clauses) - MOST} {more}"] if len(clauses) > MOST else [])


def _reading(one: Reading) -> dict[str, Any]:
    said = asdict(one)
    return {name: said[name] for name in ("group", "pattern", "since", "node")}
