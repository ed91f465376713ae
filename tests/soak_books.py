"""The books of the soak: what its nodes wrote down, held against what Redis says and what was done to them. Pure.

Words: a *sale* is one message, known by its topic and number. A *life* is one process. A *trouble* is what was done, to
whom, from when to when; one that a life may not survive as a reader (it was killed, or stood still for longer than a
lease) is *deadly*: only then may a message be handled twice, and only one that was in the life's handler, or handled
and not yet acknowledged.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

Sale = tuple[str, int]

BATCH = 1000  # messages that are acknowledged at once, at the most
UNTOLD = 1.5  # seconds for which what was handled may not be acknowledged, where nothing else is wrong
THAWED = 5.0  # seconds after which who stood still knows that others took over
PROMISED = 8.0  # seconds: a lease, and a look
SLACK = 2.0  # seconds more on a machine that is busy


@dataclass(frozen=True, slots=True)
class Trouble:
    """What was done; ``who`` is an instance, or "" for everybody. Times are unix seconds; ``back`` is when who was
    killed was begun again, 0.0 where that was at once.
    """

    what: str
    who: str
    began: float
    ended: float
    is_deadly: bool = False
    back: float = 0.0


@dataclass(slots=True)
class Handling:
    """One time that a handler was called with a sale: ``how`` it came out is "ends", "fails" or "" (it never came)."""

    sale: Sale
    tries: int
    began: float
    life: Life
    ended: float = 0.0
    how: str = ""


@dataclass(slots=True, eq=False)
class Life:
    """One process that reads, and what its handlers did, in order."""

    instance: str
    group: str
    name: str
    handlings: list[Handling] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Redis:
    """What Redis says at the end: the sales in the streams, dead letters and what is left by group, and what the
    living readers told the registry: handled and failed, by life.
    """

    streams: Mapping[Sale, int]
    letters: Mapping[str, Mapping[Sale, int]]
    left: Mapping[str, int]
    told: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: whether it is so, the figures, and what proves the contrary."""

    what: str
    ok: bool
    figures: str
    evidence: tuple[str, ...] = ()


class Books:
    """All that is known of one soak."""

    def __init__(self, folder: Path, troubles: Sequence[Trouble], redis: Redis, retries: int) -> None:
        self.troubles, self.redis, self.retries = troubles, redis, retries
        self.safe: set[Sale] = set()
        self.refused: set[Sale] = set()
        self.sent: set[Sale] = set()
        self.lives: list[Life] = []
        for path in sorted(folder.glob("*.jsonl")):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            if "group" in lines[0]:
                self.lives.append(_life(path.stem, lines))
            else:
                self._enter_sales(f"sale.{path.name.partition('.')[0]}", lines)

    def _enter_sales(self, topic: str, lines: Sequence[Mapping[str, Any]]) -> None:
        kinds = {"sends": self.sent, "safe": self.safe, "refused": self.refused}
        for line in lines:
            if line["what"] in kinds:
                kinds[line["what"]].update((topic, number) for number in range(line["first"], line["last"] + 1))

    @cached_property
    def groups(self) -> list[str]:
        """The groups that read."""
        return sorted({life.group for life in self.lives})

    def handlings(self, group: str) -> list[Handling]:
        """All handlings of a group, in the order in which they began."""
        found = [one for life in self.lives if life.group == group for one in life.handlings]
        return sorted(found, key=lambda one: one.began)

    # -- what has to be so

    def findings(self) -> list[Finding]:
        """Everything that is promised."""
        found = [self._in_streams()]
        for group in self.groups:
            found += [self._lost(group), self._twice(group), self._dead(group), self._order(group), self._held(group)]
        found += [self._told(life) for life in self.lives if life.name in self.redis.told]
        return found

    def _in_streams(self) -> Finding:
        twice = [sale for sale, count in self.redis.streams.items() if count > 1]
        gone = sorted(self.safe - self.redis.streams.keys())
        refused = sorted(self.refused & self.redis.streams.keys())
        figures = (
            f"{len(self.sent)} sent, {len(self.safe)} safe, {len(self.refused)} refused; "
            f"{len(self.redis.streams)} in the streams, {len(twice)} of them twice"
        )
        wrong = [f"{what}: {sale}" for what, all_ in (("gone", gone), ("refused", refused)) for sale in all_]
        return _finding(
            "what was told to be safe is in the streams, once", wrong + [f"twice: {one}" for one in twice], figures
        )

    def _lost(self, group: str) -> Finding:
        ended = {one.sale for one in self.handlings(group) if one.how == "ends"}
        lost = sorted(self.redis.streams.keys() - ended - self.redis.letters[group].keys())
        figures = f"{len(ended)} handled, {len(lost)} lost, {self.redis.left[group]} left"
        wrong = [f"lost: {sale}" for sale in lost] + ["left over"] * (self.redis.left[group] > 0)
        return _finding(f"{group}: nothing is lost", wrong, figures)

    def _twice(self, group: str) -> Finding:
        ends: defaultdict[Sale, list[Handling]] = defaultdict(list)
        for one in self.handlings(group):
            if one.how == "ends":
                ends[one.sale].append(one)
        again = [(first, then) for all_ in ends.values() for first, then in pairwise(all_)]
        wrong = [_told_twice(*pair) for pair in again if not self._may_be_untold(pair[0])]
        each = Counter(first.life.name for first, _ in again)
        wrong += [f"{count} of {name} twice" for name, count in each.items() if count > BATCH]
        return _finding(
            f"{group}: twice only what was not acknowledged at a death", wrong, f"{len(again)} handled twice"
        )

    def _may_be_untold(self, one: Handling) -> bool:
        """Whether the life in which this was handled met its end so soon that Redis may not have been told."""
        deaths = [each for each in self.troubles if each.is_deadly and each.who == one.life.instance]
        return any(self._untold_since(death) <= one.ended <= death.ended + THAWED for death in deaths)

    def _untold_since(self, death: Trouble) -> float:
        """From when on what was handled may not have been acknowledged: other troubles may have come before."""
        since = death.began - UNTOLD
        for other in sorted(self.troubles, key=lambda one: -one.began):
            if other.who in ("", death.who) and other.began <= death.began and other.ended + THAWED >= since:
                since = min(since, other.began - UNTOLD)
        return since

    def _dead(self, group: str) -> Finding:
        tried: Counter[Sale] = Counter(one.sale for one in self.handlings(group) if one.how != "ends")
        ended = {one.sale for one in self.handlings(group) if one.how == "ends"}
        letters = self.redis.letters[group]
        wrong = [f"{count} letters: {sale}" for sale, count in letters.items() if count > 1]
        wrong += [f"dead after {tried[sale]} tries: {sale}" for sale in letters if tried[sale] <= self.retries]
        wrong += [
            f"tried {count} times: {sale}" for sale, count in tried.items() if count > self._most_tries(sale, group)
        ]
        wrong += [f"dead, and handled: {sale}" for sale in letters.keys() & ended if not self._was_zombie(sale, group)]
        return _finding(f"{group}: dead is what was tried as often as it may be", wrong, f"{len(letters)} dead letters")

    def _most_tries(self, sale: Sale, group: str) -> int:
        """Tries and, for each handler that never ended, and for who inherited it, one that was not counted."""
        died = sum(one.sale == sale and not one.how for one in self.handlings(group))
        lives = len({one.life.name for one in self.handlings(group) if one.sale == sale})
        return self.retries + 1 + max(died, lives - 1)

    def _was_zombie(self, sale: Sale, group: str) -> bool:
        return any(one.sale == sale and one.how == "ends" and self._may_be_untold(one) for one in self.handlings(group))

    def _order(self, group: str) -> Finding:
        readers = {life.instance for life in self.lives if life.group == group}
        count = sum(1 for _ in self._disordered(group))
        wrong = ["out of order"] if count and len(readers) == 1 else []
        alone = "one reader" if len(readers) == 1 else f"{len(readers)} readers: no promise"
        return _finding(f"{group}: in order", wrong, f"{count} out of order ({alone})")

    def _disordered(self, group: str) -> Iterator[Handling]:
        last: Counter[str] = Counter()
        seen: set[Sale] = set()
        for one in self.handlings(group):
            if one.sale in seen:
                continue
            seen.add(one.sale)
            topic, number = one.sale
            if number < last[topic]:
                yield one
            last[topic] = max(last[topic], number)

    def _held(self, group: str) -> Finding:
        """What was in a handler at a death is in another within a lease and a look, if nothing else is wrong."""
        waits, wrong = [], []
        for death, sale, wait in self._inherited(group):
            waits.append(wait)
            if wait > PROMISED + SLACK and self._was_calm(death):
                wrong.append(f"{sale} after {wait:.1f} s, from {death}")
        return _finding(f"{group}: what a dead reader held is soon with another", wrong, spread(waits))

    def _inherited(self, group: str) -> Iterator[tuple[Trouble, Sale, float]]:
        """Deaths, what was in a handler then, and after how long it was in another: where nobody else was there to
        inherit, since the same instance was begun again.
        """
        handlings = self.handlings(group)
        readers = {life.instance for life in self.lives if life.group == group}
        for death in self.troubles:
            if not death.what.startswith("kill "):
                continue
            for one in handlings:
                if one.life.instance == death.who and not one.how and one.began <= death.began < one.began + 60:
                    since = max(death.began, death.back) if readers == {death.who} else death.began
                    then = [other.began for other in handlings if other.sale == one.sale and other.began > death.began]
                    if then:
                        yield (
                            death,
                            one.sale,
                            then[0] - since,
                        )

    def _was_calm(self, death: Trouble) -> bool:
        """Whether nothing else was wrong while its heirs had to notice."""
        until = death.began + PROMISED + SLACK
        return not any(one is not death and one.began < until and one.ended > death.began - 1 for one in self.troubles)

    def _told(self, life: Life) -> Finding:
        handled = sum(one.how == "ends" for one in life.handlings)
        failed = sum(one.how == "fails" for one in life.handlings)
        wrong = [] if self.redis.told[life.name] == (handled, failed) else ["it told otherwise"]
        figures = f"told {self.redis.told[life.name]}, wrote down {(handled, failed)}"
        return _finding(f"{life.name}: the registry has what it handled, and what failed", wrong, figures)

    # -- how much, and how long it took

    def numbers(self, group: str) -> tuple[int, ...]:
        """Sent, handled, lost, handled again, out of order, dead."""
        ends = Counter(one.sale for one in self.handlings(group) if one.how == "ends")
        lost = self.redis.streams.keys() - ends.keys() - self.redis.letters[group].keys()
        again, disordered = sum(ends.values()) - len(ends), sum(1 for _ in self._disordered(group))
        dead = len(self.redis.letters[group])
        return len(self.redis.streams), len(ends), len(lost), again, disordered, dead

    def recoveries(self) -> dict[str, list[float]]:
        """By what was done: seconds from when it began, or for a pause from when it ended, to the next message that is
        handled to its end, in the group that it hit, or in the slowest.
        """
        ends = {group: [one.ended for one in self.handlings(group) if one.how == "ends"] for group in self.groups}
        found: defaultdict[str, list[float]] = defaultdict(list)
        for trouble in self.troubles:
            mine = [group for group in self.groups if trouble.who.startswith(f"{group}.")] or self.groups
            since = trouble.began if trouble.what.startswith("kill") else trouble.ended
            next_ = [min((at for at in sorted(ends[group]) if at > since), default=None) for group in mine]
            found[trouble.what] += [max(at - since for at in next_ if at is not None)] if any(next_) else []
        return dict(found)


def spread(times: Sequence[float]) -> str:
    """The median and the worst of some times."""
    return f"{len(times)}: median {median(times):.1f} s, worst {max(times):.1f} s" if times else "none"


def _told_twice(first: Handling, then: Handling) -> str:
    return f"{first.sale}: ended {first.ended:.3f}, {first.life.name}; began again {then.began:.3f}, {then.life.name}"


def _finding(what: str, wrong: Sequence[str], figures: str) -> Finding:
    return Finding(what, not wrong, figures, tuple(wrong))


def _life(name: str, lines: Sequence[Mapping[str, Any]]) -> Life:
    life = Life(name.rpartition(".")[0], lines[0]["group"], name)
    inside: dict[Sale, Handling] = {}
    for line in lines[1:]:
        sale = (line["topic"], line["n"])
        if line["what"] == "begins":
            inside[sale] = one = Handling(sale, line["try"], line["at"], life)
            life.handlings.append(one)
        else:
            inside[sale].ended, inside[sale].how = line["at"], line["what"]
    return life
