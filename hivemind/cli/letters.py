"""What `hm dead` does with letters: picks them, shows them, has them replayed, drops them; a portion at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from ..data.letters import Letter, Letters
from ..data.picking import NoLetters, Picked, Replayed, count_of, drop, read, replay, said_of_dropped
from ..data.picking import pick as picked_by
from ..message import Malformed
from . import output
from .forms import text_of
from .nodes import WrongName


async def pick(letters: Letters, which: tuple[str, ...], since: float, group: str) -> Picked:
    """The letters that are meant, as they are now. Raises WrongName for one that is not there, and InvalidName."""
    try:
        return await picked_by(letters, which, since, group)
    except NoLetters as error:
        raise WrongName(str(error)) from None


async def list_letters(letters: Letters, picked: Picked, as_json: bool) -> int:
    """Print a line each; return how many there are."""
    total, listing = 0, output.Listing(("letter", "group", "died", "tries", "reason"))
    async for found in read(letters, picked):
        total += len(found)
        if as_json:
            output.write_lines(output.json_text(_brief(one)) for one in found)
        else:
            listing.add([(one.name, one.group, _moment(one.died), one.tries, _short(one.reason)) for one in found])
    return total


async def show_letters(letters: Letters, picked: Picked, as_json: bool) -> int:
    """Print all of each; return how many there are."""
    total = 0
    async for found in read(letters, picked):
        for one in found:
            if as_json:
                output.write_lines([output.json_text({**one.to_json(), **_message(one)})])
            else:
                output.write_lines(["", *_lines(one)] if total else _lines(one))
            total += 1
    return total


async def replay_letters(letters: Letters, picked: Picked, for_all: bool) -> bool:
    """Append them again, and say of which topic and for whom how many; False if one could not be."""
    done = Replayed(for_all)
    is_whole = all(one.first == "0-0" and not one.group for one in picked)  # else nobody has counted them
    counts = await letters.count() if is_whole else {}
    total = sum(counts.get(topic, 0) for topic in {one.topic for one in picked})

    def on_seen(seen: int) -> None:
        output.progress(f"{count_of(seen)} replayed", seen / total if total else None)

    try:
        await replay(letters, picked, done, on_seen)
    finally:  # also when Redis is suddenly away: then this is what was done before
        output.end_progress()
        for text in done.successes():
            output.say(text)
        for text in done.failures("--every-group"):
            output.say(text, "red")
        if done.is_nothing:
            output.note("nothing was replayed")
    return done.is_well


async def count_letters(letters: Letters, picked: Picked) -> tuple[Picked, Mapping[str, int]]:
    """How many there are of each topic."""
    counts: Counter[str] = Counter()
    async for found in read(letters, picked):
        counts.update(one.topic for one in found)
    return picked, counts


async def drop_letters(letters: Letters, picked: Picked) -> None:
    """Remove them, and say how many of each topic."""
    dropped: Counter[str] = Counter()
    try:
        await drop(letters, picked, dropped)
    finally:
        for text in said_of_dropped(dropped):
            output.say(text)


def told(counts: Mapping[str, int]) -> str:
    """What is counted, as it stands in a question."""
    each = ", ".join(f"{count:,} of {topic}" for topic, count in sorted(counts.items())[:3])
    more = f" and {len(counts) - 3} more topics" if len(counts) > 3 else ""
    return f"{count_of(sum(counts.values()))} ({each}{more})"


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
