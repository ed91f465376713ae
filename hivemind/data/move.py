"""A hive goes over to another Redis while it runs. By which stages, is in states.MOVE.

The entries of streams never change: they are copied while all goes on. Then the hive is held (see hold.py), and all
the rest is copied: groups and what they have pending, senders' numbers, leases, data. Both sides are counted. At last
the old server says that the hive has gone: from that word on nobody finds it there, and before that word nobody found
it at the new one. Whoever moves a hive may be killed at any moment: before the word all goes on at the old server
within LEASE, and what is at the new one is marked as nobody's; after it, all go to the new one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..bus.commands import Argument, Commands, checked
from ..bus.door import Mark, Way, mark_in
from ..bus.functions import Functions
from ..constants import redact
from ..errors import HivemindError, RedisError
from ..states import MOVE, MoveStage, advance
from ..topics import Names
from ..whereabouts import Moved, give_up, prepare, take_effect
from .backup import Command, all_keys, entries_of, portions_of, scanned
from .bulk import AT_ONCE, read_small
from .copy_file import Counts
from .hold import Hold, mark_of, swap
from .survey import differing, survey

ANOTHER = "somebody else moves a hive of that name there, or has just done so"
FEW = 1000  #: entries that have come meanwhile, which may be copied while nobody writes
LEASES = 15_000  #: milliseconds that leases last at the new server, at least: the living renew theirs
Told = Callable[[MoveStage, Counts], None]


@dataclass(frozen=True, slots=True)
class Done:
    """A move that was made: what there is at the new server, and for how many seconds nobody could write."""

    counts: Counts
    held: float


class Move:
    """One try to move the hive of ``names`` from ``source`` to ``target``, as ``plan`` says; where it is from then on
    is written to ``folder``. ``told`` hears how far it is.
    """

    def __init__(self, source: Commands, target: Commands, names: Names, plan: Moved, folder: Path, told: Told) -> None:
        self._source, self._target, self._names = source, target, names
        self._plan, self._folder, self._told = plan, folder, told
        self._mark = Mark(plan.number, Way.LEAVING, redact(plan.to))
        self._coming = replace(self._mark, way=Way.COMING).raw
        self._copied, self._stage = Counts(), MoveStage.FILLING
        self._filled: dict[bytes, str] = {}  # streams, with the id of the last entry that was copied

    async def run(self) -> Done:
        """Move it. Whatever is raised, the hive is where it was, unless that is said not to be known: HivemindError,
        RedisError and OSError.
        """
        hold = Hold(self._source, self._names, self._mark)
        try:
            await self._clear()
            await self._fill()
            self._enter(MoveStage.HOLDING)
            began = time.monotonic()
            async with hold:
                self._enter(MoveStage.COPYING)
                await self._copy()
                self._enter(MoveStage.COUNTING)
                counts = await self._count()
                await self._check_alone()
                prepare(self._folder, self._plan)
                await hold.leave()
        except BaseException:
            self._enter(MoveStage.UNKNOWN if hold.is_unknown else MoveStage.BACK)
            if not hold.is_unknown:
                await self._undo()
            raise
        self._enter(MoveStage.GONE)
        await settle(self._target, self._names, self._folder, self._plan.number)
        return Done(counts, time.monotonic() - began)

    @property
    def may_have_gone(self) -> bool:
        """Whether the hive is there, or may be, although something was raised."""
        return self._stage in (MoveStage.GONE, MoveStage.UNKNOWN)

    def _enter(self, stage: MoveStage) -> None:
        self._stage = advance(MOVE, self._stage, stage)
        self._told(stage, self._copied)

    # -- at the new server

    async def _clear(self) -> None:
        """Mark what is there as nobody's, and remove it.

        Another move to there may go on, or may have been made since somebody was asked whether it may be removed: then
        it is the hive. That one marks the old server before it looks at the new one, we the other way round: so one of
        us sees the other.
        """
        functions = Functions(self._target)
        there = await self._target.execute("GET", self._names.move()) or b""
        if not await swap(functions, self._names, there, self._coming):
            raise HivemindError(ANOTHER)
        if await mark_of(self._source, self._names) is not None:
            await swap(functions, self._names, self._coming, there)
            raise HivemindError(ANOTHER)
        await self._remove()

    async def _check_alone(self) -> None:
        """Nobody else has begun to move a hive of that name there."""
        if await self._target.execute("GET", self._names.move()) != self._coming:
            raise HivemindError(ANOTHER)

    async def _remove(self) -> None:
        async for some in scanned(self._target, self._names):
            if keys := [key for key in some if key != self._names.move().encode()]:
                await self._target.execute("UNLINK", *keys)

    async def _undo(self) -> None:
        """Leave nothing there. Where that cannot be, it stays marked as nobody's, and the next move removes it."""
        with suppress(OSError):
            give_up(self._folder, self._plan.number)
        with suppress(RedisError):
            if await self._target.execute("GET", self._names.move()) == self._coming:
                await self._remove()
                await self._target.execute("DEL", self._names.move())

    async def _put(self, commands: Sequence[Command]) -> None:
        for reply in await self._target.pipeline([*map(self._lasting, commands)]):
            checked(reply)
        self._told(self._stage, self._copied)

    # -- the stages

    async def _fill(self) -> None:
        keys = await all_keys(self._source, self._names)
        kinds = await self._source.pipeline([("TYPE", key) for key in keys])
        for key in (key for key, kind in zip(keys, kinds, strict=True) if checked(kind) == b"stream"):
            await self._fill_stream(key)

    async def _fill_stream(self, key: bytes) -> None:
        """Copy what is there, then what has come meanwhile, as long as that gets less: senders may be faster."""
        since, before, count = "-", math.inf, 0.0
        while newest := await self._source.execute("XREVRANGE", key, "+", "-", "COUNT", 1):
            count = 0
            async for portion in entries_of(self._source, key, self._copied, since, _text(newest[0][0])):
                await self._put(portion)
                self._filled[key] = _text(portion[-1][2])
                since = f"({self._filled[key]}"
                count += len(portion)
            if count < FEW or count > before / 2:
                return
            before = count

    async def _copy(self) -> None:
        keys = await all_keys(self._source, self._names)
        for gone in self._filled.keys() - {*keys}:
            await self._target.execute("UNLINK", gone)
        large: list[bytes] = []
        for start in range(0, len(keys), AT_ONCE):
            done, rest = await read_small(self._source, keys[start : start + AT_ONCE])
            await self._put(done)
            self._copied.keys += len(keys[start : start + AT_ONCE]) - len(rest)
            large += rest
        for key in large:
            since, before = await self._let_go(key), self._copied.left_out
            await self._put_key(key, since)
            if since != "-" and await _length(self._source, key) != await _length(self._target, key):
                await self._target.execute("UNLINK", key)  # entries in its midst were deleted
                self._copied.left_out = before
                await self._put_key(key, "-")

    async def _let_go(self, key: bytes) -> str:
        """Let go of a stream what was trimmed meanwhile. From which entry on it is to be copied."""
        if key not in self._filled:
            return "-"
        first = await self._source.execute("XRANGE", key, "-", "+", "COUNT", 1)
        if not first:
            await self._target.execute("UNLINK", key)
            return "-"
        await self._target.execute("XTRIM", key, "MINID", "=", first[0][0])
        return f"({self._filled[key]}"

    async def _put_key(self, key: bytes, since: str) -> None:
        async for portion in portions_of(self._source, key, self._copied, since):
            await self._put(portion)

    def _lasting(self, command: Command) -> Command:
        """Leases last until their owners are there."""
        if command[0] != "PEXPIRE" or not _text(command[1]).startswith(self._names.node("")):
            return command
        return "PEXPIRE", command[1], max(int(command[2]), LEASES)

    async def _count(self) -> Counts:
        here = await survey(self._source, await all_keys(self._source, self._names))
        there = await survey(self._target, await all_keys(self._target, self._names))
        other = differing(here, there)
        if other or here.counts.pending - self._copied.left_out != there.counts.pending:
            where = f"{other[0].decode(errors='replace')} is not the same" if other else "not the same is pending"
            raise HivemindError(
                f"{where} on both sides: here {here.counts.text}, there {there.counts.text}. Does somebody write to it "
                "who does not belong to the hive?"
            )
        there.counts.left_out = self._copied.left_out
        return there.counts


async def _length(commands: Commands, key: bytes) -> int:
    return int(await commands.execute("XLEN", key))


def _text(word: Argument) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


async def settle(target: Commands, names: Names, folder: Path, number: str) -> None:
    """The hive has gone to ``target`` by the move of that number: let all of this host go there, and all others in.

    Raises HivemindError where it cannot be written down here that it has gone.
    """
    if not take_effect(folder, number):
        raise HivemindError(f"the hive has moved, but that cannot be written to {folder}: do it again")
    with suppress(RedisError):  # those who know of the move come in; the next command lets the others in
        await let_in(target, names, number)


async def let_in(target: Commands, names: Names, number: str) -> None:
    """What has come to ``target`` by the move of that number is the hive from now on. Raises RedisError."""
    raw = await target.execute("GET", names.move())
    mark = mark_in(raw)
    if mark is not None and mark.way is Way.COMING and mark.number == number:
        await swap(Functions(target), names, raw, b"")


async def follow(source: Commands, target: Commands, names: Names, plan: Moved, folder: Path) -> bool:
    """If the hive has left ``source`` already, for where ``plan`` leads, let this host go there, too; False if it has
    not left. Raises HivemindError where it went elsewhere, RedisError and OSError.
    """
    mark = await mark_of(source, names)
    if mark is None or mark.way is not Way.GONE:
        return False
    if mark.to != redact(plan.to):
        raise HivemindError(f"the hive {names.hive} has moved to {mark.to}: `hm redis move {mark.to}` first")
    prepare(folder, replace(plan, number=mark.number))
    await settle(target, names, folder, mark.number)
    return True
