"""What `hm dead` does with letters: picks them, shows them, has them replayed, drops them; a portion at a time."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from ..constants import did_you_mean
from ..data.letters import GONE, UNREAD, Letter, Letters, Shelf
from ..english import amount
from ..message import Malformed
from ..topics import check_pattern, check_topic, is_pattern
from . import output
from .forms import text_of
from .nodes import WrongName

_ID = re.compile(r"\d{1,20}-\d{1,20}")

Picked = list[Shelf]


async def pick(letters: Letters, which: tuple[str, ...], since: float, group: str) -> Picked:
    """The letters that are meant, as they are now. Raises WrongName for one that is not there, and InvalidName."""
    picked: Picked = []
    for one in dict.fromkeys(which):
        topic, colon, letter = one.partition(":")
        picked += [await _one(letters, topic, letter)] if colon else await _many(letters, topic, since, group)
    return picked


async def _one(letters: Letters, topic: str, letter: str) -> Shelf:
    check_topic(topic)
    if not _ID.fullmatch(letter):
        raise WrongName(f"{topic}:{letter} is no dead letter: write it as `hm dead list` does, such as {topic}:1795-0")
    shelf = Shelf(topic, letter, letter)
    async for found in letters.read(shelf):
        if found:
            return shelf
    raise WrongName(f"there is no dead letter {topic}:{letter}: it was replayed, dropped, or never there")


async def _many(letters: Letters, pattern: str, since: float, group: str) -> Picked:
    check_pattern(pattern)
    found = [await letters.shelf(topic, since, group) for topic in await letters.topics(pattern)]
    shelves = [one for one in found if one is not None]
    await _check_group(letters, shelves, group)
    if not shelves and not is_pattern(pattern) and pattern not in (known := await letters.topics()):
        raise WrongName(f"nothing is kept of a topic {pattern!r}{did_you_mean(pattern, known)}")
    return shelves


async def _check_group(letters: Letters, shelves: Picked, group: str) -> None:
    """Raise WrongName where there are letters, of other groups alone, and ``group`` looks like one of these."""
    groups: set[str] = set()
    for shelf in shelves if group else ():
        async for found in letters.read(replace(shelf, group="")):
            groups.update(one.group for one in found)
            if group in groups:
                return
    if hint := did_you_mean(group, sorted(groups)):
        raise WrongName(f"group {group} has no dead letters there{hint}")


async def list_letters(letters: Letters, picked: Picked, as_json: bool) -> int:
    """Print a line each; return how many there are."""
    total, listing = 0, output.Listing(("letter", "group", "died", "tries", "reason"))
    async for found in _read(letters, picked):
        total += len(found)
        if as_json:
            output.write_lines(output.json_text(_brief(one)) for one in found)
        else:
            listing.add([(one.name, one.group, _moment(one.died), one.tries, _short(one.reason)) for one in found])
    return total


async def show_letters(letters: Letters, picked: Picked, as_json: bool) -> int:
    """Print all of each; return how many there are."""
    total = 0
    async for found in _read(letters, picked):
        for one in found:
            if as_json:
                output.write_lines([output.json_text({**one.to_json(), **_message(one)})])
            else:
                output.write_lines(["", *_lines(one)] if total else _lines(one))
            total += 1
    return total


async def replay_letters(letters: Letters, picked: Picked, for_all: bool) -> bool:
    """Append them again, and say of which topic and for whom how many; False if one could not be."""
    done, seen = Replayed(for_all), 0
    whole = all(one.first == "0-0" and not one.group for one in picked)  # else nobody has counted them
    counts = await letters.count() if whole else {}
    total = sum(counts.get(topic, 0) for topic in {one.topic for one in picked})
    try:
        async for found in _read(letters, picked):
            output.progress(f"{count_of(seen)} replayed", seen / total if total else None)
            seen += len(found)
            sound = [one for one in found if one.is_whole]
            done.broken.update(one.topic for one in found if not one.is_whole)
            done.count(sound, await letters.replay(sound, for_all=for_all))
    finally:
        output.end_progress()
        done.tell()  # also when Redis is suddenly away: then this is what was done before
    return not done.unread and not done.broken


class Replayed:
    """What became of the letters: how many were appended again, and how many not, of which topic and group."""

    def __init__(self, for_all: bool) -> None:
        self.for_all = for_all
        self.replayed: Counter[tuple[str, str]] = Counter()
        self.unread: Counter[tuple[str, str]] = Counter()
        self.broken: Counter[str] = Counter()

    def count(self, letters: Sequence[Letter], done: Sequence[int | str]) -> None:
        """Enter what Redis said of each."""
        for one, said in zip(letters, done, strict=True):
            if said == UNREAD:
                self.unread[one.topic, one.group] += 1
            elif said != GONE:
                self.replayed[one.topic, "" if self.for_all else one.group] += 1

    def tell(self) -> None:
        """Say it."""
        for (topic, group), count in sorted(self.replayed.items()):
            who = f"group {group}" if group else "every group that reads it"
            output.say(f"{topic}: {count_of(count)} replayed for {who}")
        for (topic, group), count in sorted(self.unread.items()):
            stay = f"{count_of(count)} {_stay(count)}, because group {group} reads it no more"
            output.say(f"{topic}: {stay}; --every-group replays for those who do", "red")
        for topic, count in sorted(self.broken.items()):
            output.say(f"{topic}: {count:,} among the dead letters cannot be read, and {_stay(count)}", "red")
        if not self.replayed and not self.unread and not self.broken:
            output.note("nothing was replayed")


def _stay(count: int) -> str:
    return "stays" if count == 1 else "stay"


async def count_letters(letters: Letters, picked: Picked) -> tuple[Picked, Mapping[str, int]]:
    """How many there are of each topic."""
    counts: Counter[str] = Counter()
    async for found in _read(letters, picked):
        counts.update(one.topic for one in found)
    return picked, counts


async def drop_letters(letters: Letters, picked: Picked) -> None:
    """Remove them, and say how many of each topic."""
    dropped: Counter[str] = Counter()
    try:
        async for found in _read(letters, picked):
            if found:
                dropped[found[0].topic] += await letters.drop(found[0].topic, [one.id for one in found])
    finally:
        for topic, count in sorted(dropped.items()):
            output.say(f"{topic}: {count_of(count)} dropped")


def told(counts: Mapping[str, int]) -> str:
    """What is counted, as it stands in a question."""
    each = ", ".join(f"{count:,} of {topic}" for topic, count in sorted(counts.items())[:3])
    more = f" and {len(counts) - 3} more topics" if len(counts) > 3 else ""
    return f"{count_of(sum(counts.values()))} ({each}{more})"


def count_of(total: int) -> str:
    """So many letters, as they stand in a sentence."""
    return amount(total, "dead letter") if total else "no dead letters"


async def _read(letters: Letters, picked: Picked) -> AsyncIterator[list[Letter]]:
    for shelf in picked:
        async for found in letters.read(shelf):
            yield found


def _brief(one: Letter) -> dict[str, Any]:
    """What `hm dead list --json` says."""
    names = ("topic", "group", "died", "tries", "reason", "instance")
    return {"id": one.name, **{name: getattr(one, name) for name in names}}


def _message(one: Letter) -> dict[str, Any]:
    """The message of a letter as it was sent; empty if it is none."""
    try:
        said = one.envelope()
    except Malformed:
        return {}
    payload = said["payload"]
    found = {"payload": {"base64": said["b"]} if isinstance(payload, bytes) else payload}
    if "v" not in said:
        return found
    sent = {"sender": said["n"], "sent_incarnation": said["e"], "sequence": said["s"], "sent_at": said.get("t")}
    return {**found, **sent, "headers": said.get("h", {})}


def _lines(one: Letter) -> list[str]:
    said = _message(one)
    tries = "1 try" if one.tries == 1 else f"{one.tries:,} tries"
    rows = [
        ("group", one.group),
        ("died", f"{_moment(one.died)}, after {tries}"),
        ("reason", one.reason),
        ("node", f"{one.instance}, incarnation {one.incarnation}"),
    ]
    if "sender" in said:
        sent = f", sent {_moment(said['sent_at'])}" if said["sent_at"] else ""
        rows.append(("message", f"{said['sender']}/{said['sent_incarnation']}/{said['sequence']}{sent}"))
    rows.append(("entry", one.entry))
    if said.get("headers"):
        rows.append(("headers", orjson.dumps(said["headers"]).decode()))
    rows.append(("payload", text_of(said["payload"]) if "payload" in said else one.message))
    found = [one.name, *(f"  {name:<10} {output.printable(text)}" for name, text in rows)]
    if one.traceback:
        found += ["  traceback", *(f"    {output.printable(line)}" for line in one.traceback.rstrip().splitlines())]
    return found


def _moment(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):  # anybody may write anything there
        return "-"


def _short(reason: str) -> str:
    line = (reason.strip().splitlines() or [""])[0]
    return line if len(line) <= 120 else f"{line[:119]}…"
