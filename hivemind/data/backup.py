"""An exact copy of what a hive keeps in Redis: read key by key, as commands that make it again on any server.

Left out is what only says who lives now: leases, who is registered, who answers requests. While senders and readers go
on, the copy has each topic as it was when its turn came: what was sent later is not in it; what was acknowledged later
is pending in it, and is handled once more where it is restored. What senders had appended last is read before the
streams, so that a message that is in neither is appended again by who still has it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO

from ..bus.commands import Argument, Commands, checked, pairs_in
from ..bus.ranges import GOAL, portions
from ..bus.server_info import info_in, server_name
from ..errors import HivemindError
from ..topics import Names
from .copy_file import Counts, Header, Writer
from .kinds import KINDS, Kind, Member
from .survey import survey

AT_ONCE = 500  #: members, or pending entries, in one command or portion
SCANNED = 1000  #: keys that are looked at in one step
Command = Sequence[Argument]
Told = Callable[[Counts], None]


async def scanned(commands: Commands, names: Names) -> AsyncIterator[list[bytes]]:
    """All keys of a hive, in portions; one may come twice. Raises RedisError."""
    for pattern in (f"hm:{names.hive}:*", f"hm:{{{names.hive}}}:*"):
        cursor = 0
        while True:
            following, some = await commands.execute("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED)
            if some:
                yield list(some)
            if not (cursor := int(following)):
                break


async def keys_of(commands: Commands, names: Names) -> list[bytes]:
    """The keys of a hive that a copy has, streams last. Raises RedisError."""
    return [key for key in await all_keys(commands, names) if not _is_of_the_living(key, names)]


async def all_keys(commands: Commands, names: Names) -> list[bytes]:
    """All keys of a hive but the mark of a move, streams last. Raises RedisError."""
    found = {key async for some in scanned(commands, names) for key in some} - {names.move().encode()}
    stream = names.streams().encode()
    return sorted(found, key=lambda key: (key.startswith(stream), key))


def _is_of_the_living(key: bytes, names: Names) -> bool:
    """Whether a key says who lives now, or what was lately: all of them write it anew."""
    single = (names.nodes(), names.caretaker(), names.roll(), names.resolvers(), names.resolved(), names.past())
    return key.startswith((names.node("").encode(), names.requests().encode())) or key in map(str.encode, single)


async def backup(commands: Commands, names: Names, out: BinaryIO, told: Told) -> Counts:
    """Write a copy of the hive to ``out``; ``told`` how far it is. Raises RedisError, OSError, and HivemindError where
    something is there that cannot be copied.
    """
    writer, counts = Writer(out), Counts()
    server = server_name(info_in(await commands.execute("INFO", "server"))) or "unknown"
    writer.begin(Header(names.hive, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", server))
    for key in await keys_of(commands, names):
        async for portion in portions_of(commands, key, counts):
            writer.add(portion)
            told(counts)
    writer.end(counts)
    told(counts)
    return counts


async def portions_of(commands: Commands, key: bytes, counts: Counts, since: str = "-") -> AsyncIterator[list[Command]]:
    """What to do to have this key anew, of a stream the entries from ``since`` on; nothing if it has ended. Raises
    RedisError, and HivemindError where it is of a kind that cannot be copied.
    """
    kind, left = map(checked, await commands.pipeline([("TYPE", key), ("PTTL", key)]))
    if kind == b"none":
        return
    known = KINDS.get(bytes(kind))
    if known is None and kind != b"stream":
        raise HivemindError(f"{key.decode(errors='replace')} is of type {kind.decode()}: that cannot be copied")
    async for portion in _whole(commands, key, known) if known else _stream(commands, key, counts, since):
        yield portion
    if left > 0:
        yield [("PEXPIRE", key, left)]
    counts.keys += 1


async def count(commands: Commands, names: Names) -> Counts:
    """What is there of a hive. Raises RedisError."""
    return (await survey(commands, await keys_of(commands, names))).counts


# -- what is in a key


async def _whole(commands: Commands, key: bytes, kind: Kind) -> AsyncIterator[list[Command]]:
    for some in _parts(kind.members(await commands.execute(*kind.asks(key)))):
        yield [(kind.write, key, *some)]


def _parts(members: Iterable[Member]) -> Iterator[list[bytes]]:
    """The words of members, as many at once as are easily sent."""
    words: list[bytes] = []
    size = 0
    for member in members:
        words += member
        size += sum(map(len, member))
        if len(words) >= 2 * AT_ONCE or size >= GOAL:
            yield words
            words, size = [], 0
    if words:
        yield words


async def _stream(commands: Commands, key: bytes, counts: Counts, since: str) -> AsyncIterator[list[Command]]:
    """First how far groups are, then what they hold, then the entries: so nothing is in a gap between the three."""
    asked = (("XINFO", "STREAM", key), ("XINFO", "GROUPS", key))
    about, found = map(checked, await commands.pipeline(asked))
    about, groups = pairs_in(about), [pairs_in(one) for one in found]
    held = {group[b"name"]: await _held(commands, key, group) for group in groups}
    last = about[b"last-generated-id"]
    async for some in entries_of(commands, key, counts, since, last.decode()):
        yield some
    counts.streams += 1
    if not groups and not about[b"length"]:  # or else there would be nothing
        yield [("XADD", key, "MAXLEN", 0, last if last != b"0-0" else "0-1", "b", "")]
    yield [_group(key, group) for group in groups]
    marks = ("ENTRIESADDED", about[b"entries-added"], "MAXDELETEDID", about[b"max-deleted-entry-id"])
    yield [("XSETID", key, last, *marks)]
    for group in groups:
        counts.groups += 1
        async for some in _pending(commands, key, group[b"name"], held[group[b"name"]], counts):
            yield some


async def entries_of(
    commands: Commands, key: bytes, counts: Counts, first: str = "-", last: str = "+"
) -> AsyncIterator[list[Command]]:
    """What to do to have these entries of a stream, which never change. Raises RedisError."""
    async for entries in portions(commands, key.decode(errors="surrogateescape"), first, last):
        counts.entries += len(entries)
        yield [("XADD", key, entry, *fields) for entry, fields in entries]


def _group(key: bytes, group: dict[bytes, Any]) -> Command:
    read = group.get(b"entries-read")
    words = ("XGROUP", "CREATE", key, group[b"name"], group[b"last-delivered-id"], "MKSTREAM")
    return words if read is None else (*words, "ENTRIESREAD", read)


async def _held(commands: Commands, key: bytes, group: dict[bytes, Any]) -> list[tuple[bytes, bytes, int]]:
    """What a group has pending, up to where it was: entry, consumer, tries."""
    found: list[tuple[bytes, bytes, int]] = []
    first: bytes = b"-"
    while True:
        last, most = group[b"last-delivered-id"], 20 * AT_ONCE
        some = await commands.execute("XPENDING", key, group[b"name"], first, last, most)
        found += [(entry, who, tries) for entry, who, _, tries in some]
        if len(some) < most:
            return found
        first = b"(" + some[-1][0]


async def _pending(
    commands: Commands, key: bytes, group: bytes, held: Sequence[tuple[bytes, bytes, int]], counts: Counts
) -> AsyncIterator[list[Command]]:
    """Who holds what; of what the stream has lost nobody can."""
    for start in range(0, len(held), AT_ONCE):
        some = held[start : start + AT_ONCE]
        there = await commands.pipeline([("XRANGE", key, entry, entry) for entry, _, _ in some])
        kept = [one for one, reply in zip(some, there, strict=True) if checked(reply)]
        counts.left_out += len(some) - len(kept)
        counts.pending += len(kept)
        yield [
            ("XCLAIM", key, group, who, 0, entry, "IDLE", 0, "RETRYCOUNT", tries, "FORCE", "JUSTID")
            for entry, who, tries in kept
        ]
