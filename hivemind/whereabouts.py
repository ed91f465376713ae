"""Where the Redis of a hive is since `hm redis move` took it elsewhere: two files in the hive's ``var``.

``moved.json``
    in force: whoever would go to one of its ``sources`` goes ``to`` another place. What settings say otherwise wins.
``moved.json.next``
    of a move that is being made. The server that is left decides: once it says that the hive has gone, whoever hears
    that puts the file in force.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

FILE, NEXT = "moved.json", "moved.json.next"


@dataclass(frozen=True, slots=True)
class Moved:
    """A move, or several one after the other: ``number`` names the last. ``sources`` are URLs ("": none was set),
    ``own`` among them the one of the hive's own server, if it had one. ``was`` is what was set when the programs of the
    hive were started: a move changes nothing for them.
    """

    number: str
    sources: tuple[str, ...]
    to: str
    own: str = ""
    was: str = ""


def moved(folder: Path | None) -> Moved | None:
    """The move that is in force, if there is one; a file that is spoilt is none."""
    return None if folder is None else _read(folder / FILE)


def lead(folder: Path | None, url: str) -> str:
    """Where to go instead of ``url``; the same if nothing has moved."""
    found = moved(folder)
    return url if found is None or url not in found.sources else found.to


def prepare(folder: Path, move: Moved) -> None:
    """Write down a move that is being made. What was moved before goes on to the new place. Raises OSError."""
    before = moved(folder)
    sources = {*move.sources, *(before.sources if before is not None else ())} - {move.to}
    own = move.own or (before.own if before is not None else "")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole = Moved(move.number, tuple(sorted(sources)), move.to, own, move.was)
    file = os.open(folder / NEXT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(orjson.dumps(asdict(whole), option=orjson.OPT_INDENT_2) + b"\n")
        out.flush()
        os.fsync(out.fileno())


def take_effect(folder: Path | None, number: str) -> bool:
    """The server that was left says that this move was made: put it in force. False if it was not made here."""
    if folder is None:
        return False
    draft = _read(folder / NEXT)
    if draft is not None and draft.number == number:
        with suppress(OSError):  # another process has just done it, or nobody can
            (folder / NEXT).replace(folder / FILE)
    found = moved(folder)
    return found is not None and found.number == number


def give_up(folder: Path, number: str) -> None:
    """The move of that number, which was being made, is not. May be called twice. Raises OSError."""
    draft = _read(folder / NEXT)
    if draft is None or draft.number == number:  # else it is of a move that goes on
        (folder / NEXT).unlink(missing_ok=True)


def _read(path: Path) -> Moved | None:
    try:
        raw = orjson.loads(path.read_bytes())
        sources = tuple(str(each) for each in raw["sources"])
        more = (str(raw.get(name, "")) for name in ("own", "was"))
        found = Moved(str(raw["number"]), sources, str(raw["to"]), *more)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if found.number and found.to and found.to not in found.sources else None
