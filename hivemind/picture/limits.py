"""What monitoring holds against a hive: how far readers may be behind, and how much may be lost."""

from __future__ import annotations

from dataclasses import dataclass

from ..english import amount, duration
from .snapshot import Snapshot, lost_in


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a hive at one moment: the greatest ``lag`` of a group in messages, the ``age`` in seconds of the oldest
    message that a group has yet to acknowledge, how many messages were lost since those who count them began, also on
    their way out, and how many ``dead`` letters there are. Groups that have retired do not count.
    """

    lag: int = 0
    age: float = 0.0
    loss: int = 0
    dead: int = 0

    @classmethod
    def of(cls, snapshot: Snapshot) -> Figures:
        """What the snapshot has."""
        topics = snapshot.durable.state.topics
        groups = [group for topic in topics for group in topic.groups if not group.is_retired]
        return cls(
            max((group.lag for group in groups), default=0),
            max((group.oldest or 0.0 for group in groups), default=0.0),
            sum(lost_in(view.record) for view in snapshot.instances if not view.record.is_lost),
            sum(topic.letters for topic in topics),
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each that is still well; None: as much as there is."""

    lag: int | None = None
    age: float | None = None
    loss: int | None = None

    def beyond(self, found: Figures) -> list[str]:
        """What is beyond them, in clauses of a sentence."""
        told = []
        if self.lag is not None and found.lag > self.lag:
            told.append(f"a group is {amount(found.lag, 'message')} behind, more than {self.lag:,}")
        if self.age is not None and found.age > self.age:
            told.append(f"a message has waited for {duration(found.age)}, longer than {duration(self.age)}")
        if self.loss is not None and found.loss > self.loss:
            told.append(f"{amount(found.loss, 'message')} lost, more than {self.loss:,}")
        return told
