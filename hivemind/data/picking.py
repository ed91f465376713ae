"""Which dead letters somebody means, and what is done to them: for the command line and the page alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace as with_changes

from ..constants import did_you_mean
from ..english import amount
from ..topics import check_pattern, check_topic, is_pattern
from .letters import GONE, UNREAD, Letter, Letters, Shelf

Picked = list[Shelf]


class NoLetters(LookupError):
    """There is nothing by that name; the text says what was meant instead."""


_ID = re.compile(r"\d{1,20}-\d{1,20}")


async def pick(letters: Letters, which: tuple[str, ...], since: float, group: str) -> Picked:
    """The letters that are meant, as they are now. Raises NoLetters for one that is not there, and InvalidName."""
    picked: Picked = []
    for one in dict.fromkeys(which):
        topic, colon, letter = one.partition(":")
        picked += [await _one(letters, topic, letter)] if colon else await _many(letters, topic, since, group)
    return picked


async def _one(letters: Letters, topic: str, letter: str) -> Shelf:
    check_topic(topic)
    if not _ID.fullmatch(letter):
        raise NoLetters(f"{topic}:{letter} is no dead letter: write it as `hm dead list` does, such as {topic}:1795-0")
    shelf = Shelf(topic, letter, letter)
    async for found in letters.read(shelf):
        if found:
            return shelf
    raise NoLetters(f"there is no dead letter {topic}:{letter}: it was replayed, dropped, or never there")


async def _many(letters: Letters, pattern: str, since: float, group: str) -> Picked:
    check_pattern(pattern)
    found = [await letters.shelf(topic, since, group) for topic in await letters.topics(pattern)]
    shelves = [one for one in found if one is not None]
    await _check_group(letters, shelves, group)
    if not shelves and not is_pattern(pattern) and pattern not in (known := await letters.topics()):
        raise NoLetters(f"nothing is kept of a topic {pattern!r}{did_you_mean(pattern, known)}")
    return shelves


async def _check_group(letters: Letters, shelves: Picked, group: str) -> None:
    """Raise NoLetters where there are letters, of other groups alone, and ``group`` looks like one of these."""
    groups: set[str] = set()
    for shelf in shelves if group else ():
        async for found in letters.read(with_changes(shelf, group="")):
            groups.update(one.group for one in found)
            if group in groups:
                return
    if hint := did_you_mean(group, sorted(groups)):
        raise NoLetters(f"group {group} has no dead letters there{hint}")


async def read(letters: Letters, picked: Picked) -> AsyncIterator[list[Letter]]:
    """All that were picked, in portions of one topic each. Raises RedisError."""
    for shelf in picked:
        async for found in letters.read(shelf):
            yield found


class Replayed:
    """What became of the letters: how many were appended again, and how many not, of which topic and group."""

    def __init__(self, for_all: bool) -> None:
        self.for_all = for_all
        self.replayed: Counter[tuple[str, str]] = Counter()
        self.unread: Counter[tuple[str, str]] = Counter()
        self.broken: Counter[str] = Counter()

    @property
    def is_well(self) -> bool:
        """Whether none had to stay."""
        return not self.unread and not self.broken

    @property
    def is_nothing(self) -> bool:
        """Whether there was none."""
        return self.is_well and not self.replayed

    def count(self, letters: Sequence[Letter], done: Sequence[int | str]) -> None:
        """Enter what Redis said of each."""
        for one, said in zip(letters, done, strict=True):
            if said == UNREAD:
                self.unread[one.topic, one.group] += 1
            elif said != GONE:
                self.replayed[one.topic, "" if self.for_all else one.group] += 1

    def successes(self) -> list[str]:
        """What was done, a sentence a topic and group."""
        return [
            f"{topic}: {count_of(count)} replayed for {f'group {group}' if group else 'every group that reads it'}"
            for (topic, group), count in sorted(self.replayed.items())
        ]

    def failures(self, way_out: str) -> list[str]:
        """What could not be; ``way_out`` is called what replays for all groups."""
        unread = [
            f"{topic}: {count_of(count)} {_stay(count)}, because group {group} reads it no more; "
            f"{way_out} replays for those who do"
            for (topic, group), count in sorted(self.unread.items())
        ]
        broken = (
            f"{topic}: {count:,} among the dead letters cannot be read, and {_stay(count)}"
            for topic, count in sorted(self.broken.items())
        )
        return [*unread, *broken]


async def replay(
    letters: Letters, picked: Picked, done: Replayed, on_seen: Callable[[int], None] | None = None
) -> None:
    """Append them again, and enter in ``done`` what became of each. Raises RedisError with ``done`` right so far.

    ``on_seen`` is told before each portion how many have had their turn.
    """
    seen = 0
    async for found in read(letters, picked):
        if on_seen is not None:
            on_seen(seen)
        seen += len(found)
        sound = [one for one in found if one.is_whole]
        done.broken.update(one.topic for one in found if not one.is_whole)
        done.count(sound, await letters.replay(sound, for_all=done.for_all))


async def drop(letters: Letters, picked: Picked, dropped: Counter[str]) -> None:
    """Remove them for good, and count them by topic in ``dropped``. Raises RedisError."""
    async for found in read(letters, picked):
        if found:
            dropped[found[0].topic] += await letters.drop(found[0].topic, [one.id for one in found])


def said_of_dropped(dropped: Mapping[str, int]) -> list[str]:
    """What was removed, a sentence a topic."""
    return [f"{topic}: {count_of(count)} dropped" for topic, count in sorted(dropped.items())]


def count_of(total: int) -> str:
    """So many letters, as they stand in a sentence."""
    return amount(total, "dead letter") if total else "no dead letters"


def _stay(count: int) -> str:
    return "stays" if count == 1 else "stay"
