"""Durable delivery: kept topics, their groups, and which of those fall behind further and further."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.backlog import GroupBacklog
from ..data.durability import Durability
from ..english import amount, listed
from . import remedies

WINDOW, LEAST = 60.0, 15.0  #: over so many seconds growth is taken, as soon as so many are known
MANY = 100  #: messages of lag under which growth is not worth a word

#: topic, group
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class DurableView:
    """What there is, and by how many messages a second the lag of each group grows, where that is known."""

    state: Durability = field(default_factory=Durability)
    growth: Mapping[Key, float] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """What is worth a look, in clauses of a sentence."""
        growing = [
            f"{group.group} on {group.topic} ({amount(group.lag, 'message')}, {rate:+,.1f}/s)"
            for topic in self.state.topics
            for group in topic.groups
            if (rate := self.growth.get((group.topic, group.group), 0.0)) > 0 and group.lag >= MANY
        ]
        verb = "falls" if len(growing) == 1 else "fall"
        return [*self.state.notes(), *([f"{listed(growing)} {verb} behind further and further"] if growing else [])]

    def todo(self) -> dict[str, str]:
        """What to do about what is worth a look, where it does not say so itself."""
        kinds = {**dict.fromkeys(self.notes(), "behind"), **self.state.noted()}
        return {clause: remedies.DURABLE[kind] for clause, kind in kinds.items() if kind}

    def to_json(self) -> dict[str, Any]:
        """What ``/api/durable`` answers; stable names."""
        said = self.state.to_json()
        for topic in said["topics"]:
            for group in topic["groups"]:
                group["growth"] = self.growth.get((group["topic"], group["group"]))
        return {**said, "notes": self.notes()}


class Growth:
    """How the lag of each group has changed lately. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._seen: dict[Key, deque[tuple[float, int]]] = {}

    def follow(self, now: float, groups: Sequence[GroupBacklog]) -> dict[Key, float]:
        """Take one more look; return for each group that is known for long enough how many messages a second it falls
        behind: 0.0 unless it fell behind in both halves of the time.
        """
        self._seen = {key: self._seen.get(key, deque()) for one in groups for key in [(one.topic, one.group)]}
        found = {}
        for one in groups:
            seen = self._seen[one.topic, one.group]
            seen.append((now, one.lag))
            while len(seen) > 2 and now - seen[1][0] >= WINDOW:
                seen.popleft()
            if now - seen[0][0] >= LEAST:
                found[one.topic, one.group] = _growth(list(seen))
        return found


def _growth(seen: list[tuple[float, int]]) -> float:
    (began, first), (_, middle), (now, last) = seen[0], seen[len(seen) // 2], seen[-1]
    return (last - first) / (now - began) if first < middle < last else 0.0
