"""Makes the past of what is seen: one step after the other, from one snapshot to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..data.records import Instance
from ..english import duration
from ..supervisor.processes import REDIS, ROOT
from ..supervisor.wishes import who_stopped
from .declared import Declared
from .past import MOST, MOST_SAID, OF_REDIS, STEP, Event, Past, Step, What
from .snapshot import Snapshot, lost_in

FRESH = 30.0  #: seconds: a life that ended longer ago is not the one that is told of
UNREAD = 100  #: steps that wait to be written while Redis takes none


class Recorder:
    """Follows the snapshots of one root."""

    def __init__(self) -> None:
        self.past = Past()
        self._finished: list[Step] = []
        self._open: Step | None = None
        self._carried: list[Event] = []

    def follow(self, before: Snapshot, after: Snapshot, kept: Iterable[Step] = ()) -> Past:
        """One more snapshot that Redis has answered, the one before it, and what became known of steps that are kept,
        other roots' too. The past with the step that has just begun.
        """
        now = after.read_at or 0.0
        at = now // STEP * STEP
        self._learn(kept, now)
        new = [] if before.read_at is None else list(changes(before, after))
        if not has_rates(after):
            self._carried = [*self._carried, *new][-MOST:]
            return self.past
        lost = 0.0 if before.read_at is None else float(losses(before, after))
        if self._open is not None and self._open.at != at:
            self._finish(self._open, now)
            self._open = None
        events = [_explained(one, after.state.should) for one in self._open.events] if self._open else []
        lost += self._open.lost if self._open else 0
        self._open = replace(figures(after, at), lost=lost, events=(*events, *new)[:MOST])
        return self.past.joined([self._open], now)

    def take(self) -> list[Step]:
        """The steps that are over and were not taken yet, oldest first: they are to be kept."""
        taken, self._finished = self._finished, []
        return taken

    def _finish(self, step: Step, now: float) -> None:
        """A step is over; what no root has told of a step before is told in it."""
        known = self.past.events
        carried = [one for one in self._carried if not any(one.is_same(each) for each in (*known, *step.events))]
        self._carried.clear()
        whole = replace(step, events=(*carried, *step.events)[:MOST])
        self.past = self.past.joined([whole], now)
        self._finished = [*self._finished, whole][-UNREAD:]

    def _learn(self, kept: Iterable[Step], now: float) -> None:
        """What is kept counts; what another root's step does not say, though ours did, is carried on."""
        mine = {one.at: one for one in self.past.steps}
        for one in (known := list(kept)):
            ours = mine[one.at].events if one.at in mine else ()
            self._carried += [each for each in ours if not any(each.is_same(other) for other in one.events)]
        if known:
            self.past = self.past.joined(known, now)


def figures(snapshot: Snapshot, at: float) -> Step:
    """The figures of a snapshot."""
    views = [view for view in snapshot.instances if not view.record.is_lost]
    groups = [group for topic in snapshot.durable.state.topics for group in topic.groups if not group.is_retired]
    return Step(
        at,
        sum(one.rate or 0.0 for view in views for one in view.sending),
        sum(one.rate or 0.0 for view in views for one in view.subscriptions),
        0.0,
        sum(group.lag for group in groups),
        sum(snapshot.durable.state.letters.values()),
        sum(view.record.node != ROOT for view in views),
        snapshot.health.level.value,
        troubles=snapshot.health.troubles[:MOST_SAID],
        notes=snapshot.health.notes[:MOST_SAID],
    )


def has_rates(snapshot: Snapshot) -> bool:
    """Whether any rate is known, or there is nothing that has one: not just after a root, or all of a hive, began."""
    rates = [one.rate for view in snapshot.instances for one in view.services]
    rates += [one.rate for view in snapshot.instances for one in view.subscriptions]
    return not rates or any(rate is not None for rate in rates)


def losses(before: Snapshot, after: Snapshot) -> int:
    """How many messages were lost from one snapshot to the next; who is new has counted since it began."""
    was = {(one.record.instance, one.record.incarnation): lost_in(one.record) for one in before.instances}
    now = {(one.record.instance, one.record.incarnation): lost_in(one.record) for one in after.instances}
    return sum(max(0, count - was.get(life, 0)) for life, count in now.items())


def changes(before: Snapshot, after: Snapshot) -> Iterator[Event]:
    """Who came, came again, left or was lost from one snapshot to the next; that Redis was silent, or is another."""
    at, should = after.read_at or 0.0, after.state.should
    if before.silent_since is not None:
        yield Event(at, What.SILENT, "Redis", why=f"did not answer for {duration(at - before.silent_since)}")
    if before.state.redis and after.state.redis and before.state.redis != after.state.redis:
        yield _explained(Event(at, What.ANEW, "Redis"), should)
    was = {one.record.instance: one.record for one in before.instances}
    now = {one.record.instance: one.record for one in after.instances}
    for name, one in now.items():
        if (what := _change(was.get(name), one)) is not None:
            yield _explained(Event(at, what, name, one.incarnation), should)
    for name, one in was.items():
        if name not in now and not one.is_lost:
            yield _explained(Event(at, What.LEFT, name, one.incarnation), should)


def _change(was: Instance | None, now: Instance) -> What | None:
    if was is None:
        return None if now.is_lost else What.CAME
    if now.is_lost:
        return None if was.is_lost else What.LOST
    if was.incarnation != now.incarnation:
        return What.AGAIN
    return What.AGAIN if was.is_lost else None


def _wish(event: Event, should: Declared) -> str:
    """What somebody asked of who came, came again or left, a moment before; "" if nobody did."""
    if event.what not in (What.CAME, What.AGAIN, What.LEFT):
        return ""
    seen = should.programs.get(event.who)
    is_recent = seen is not None and seen.ended is not None and event.at - FRESH <= seen.ended <= event.at + STEP
    if is_recent and seen is not None and not seen.last_end.startswith(("ended with 0", "ended after")):
        return ""  # what fell is not what was asked for
    said = [wish for name in (event.who, event.who.rpartition(".")[0]) if (wish := should.wishes.get(name)) is not None]
    text, at = max(said, key=lambda wish: wish[1], default=("", 0.0))
    return text if event.at - FRESH <= at <= event.at + STEP else ""


def _explained(event: Event, should: Declared) -> Event:
    """With why, if hived knows it by now."""
    if event.why:
        return event
    if wish := _wish(event, should):
        return replace(event, why=wish)
    if event.what is What.LEFT and event.who in should.stopped:
        return replace(event, why=f"stopped {who_stopped(should.wishes, event.who)}")
    seen = should.programs.get(REDIS if event.what in OF_REDIS else event.who)
    if seen is None or seen.ended is None or not event.at - FRESH <= seen.ended <= event.at + STEP:
        return event
    is_new = event.what in (What.AGAIN, What.ANEW)
    return replace(event, why=f"the life before {seen.last_end}" if is_new else seen.last_end)
