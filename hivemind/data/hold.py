"""Keeps a hive from its Redis for a moment, while it is copied to another: all that is there stands still.

A mark says that the hive is leaving; then all its connections are cut, and whoever makes a new one reads the mark, and
waits. That is an outage like any other: what is sent is spooled, nobody is judged. The mark ends by itself when whoever
moves the hive does not renew it, and then all goes on where it was.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from ..bus.commands import Commands, checked
from ..bus.door import Mark, Way, mark_in
from ..bus.functions import Functions
from ..cancelling import end
from ..errors import HivemindError, RedisError
from ..topics import Names

MOVER = "hm:move"  #: what the connections of whoever moves a hive are called
LEASE = 10.0  #: seconds after which a mark that is not renewed ends
RENEW = 2.0  #: seconds between two times that it is renewed
DOUBT = 5.0  #: seconds in which it is found out whether the old server let the hive go
NOBODY = 2**63 - 1  #: the id of a connection that there never is


class Hold:
    """Holds a hive at the server of ``commands`` while entered; ``leave`` lets it go from there for ever.

    ``is_unknown``: ``leave`` was broken off, and the server may have let it go.
    """

    def __init__(self, commands: Commands, names: Names, mark: Mark) -> None:
        self._commands, self._names, self._mark = commands, names, mark
        self._functions = Functions(commands)
        self._task: asyncio.Task[None] | None = None
        self.has_left = self.is_unknown = False

    async def __aenter__(self) -> Self:
        if not await swap(self._functions, self._names, b"", self._mark.raw, LEASE):
            raise HivemindError("another move of this hive is being made, or was killed a few seconds ago")
        self._task = asyncio.create_task(self._renew(), name="hold")
        try:
            await cut(self._commands, self._names.hive)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end(self._task)
        if not self.has_left and not self.is_unknown:
            with suppress(RedisError):  # then it ends by itself
                await swap(self._functions, self._names, self._mark.raw, b"")

    async def leave(self) -> None:
        """The hive is elsewhere from now on. Raises HivemindError where it had gone on here meanwhile, or where it
        cannot be found out whether it is.
        """
        gone = replace(self._mark, way=Way.GONE).raw
        self.is_unknown = True
        try:
            async with asyncio.timeout(DOUBT):
                self.has_left = await self._let_go(gone)
        except TimeoutError:
            raise HivemindError("the old server does not say whether it let the hive go: do it again") from None
        self.is_unknown = False
        if not self.has_left:
            raise HivemindError(f"this process stood still for {LEASE:g} s, and the hive went on where it was")

    async def _let_go(self, gone: bytes) -> bool:
        while True:
            try:
                if await swap(self._functions, self._names, self._mark.raw, gone):
                    return True
                return bool(await self._commands.execute("GET", self._names.move()) == gone)
            except RedisError:  # what it had been asked it may have done
                await asyncio.sleep(0.1)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW)
            with suppress(RedisError):
                await swap(self._functions, self._names, self._mark.raw, self._mark.raw, LEASE)


async def swap(functions: Functions, names: Names, before: bytes, after: bytes, lasts: float = 0.0) -> bool:
    """Let the mark be ``after``, for so many seconds or for ever, if it is ``before``; b"": none. Raises RedisError."""
    return bool(await functions.call("mark", (names.move(),), (before, after, int(lasts * 1000))))


async def mark_of(commands: Commands, names: Names) -> Mark | None:
    """The mark of a hive at a server. Raises RedisError."""
    return mark_in(await commands.execute("GET", names.move()))


async def connected(commands: Commands, hive: str) -> dict[str, str]:
    """The connections of a hive to a server, but those of whoever moves it: ids with names. Raises RedisError."""
    said = await commands.execute("CLIENT", "LIST")
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    rows = [dict(part.partition("=")[::2] for part in line.split()) for line in text.splitlines()]
    named = {row["id"]: row.get("name", "") for row in rows if "id" in row}
    return {at: name for at, name in named.items() if name.endswith(f"@{hive}") and not name.startswith(MOVER)}


async def may_cut(commands: Commands) -> None:
    """Raise RedisError where we may not see, or cut, the connections of others."""
    for reply in await commands.pipeline([("CLIENT", "LIST"), ("CLIENT", "KILL", "ID", NOBODY)]):
        checked(reply)


async def cut(commands: Commands, hive: str) -> None:
    """Cut all connections of a hive. Raises RedisError."""
    there = await connected(commands, hive)
    for reply in await commands.pipeline([("CLIENT", "KILL", "ID", at) for at in there]):
        checked(reply)  # 0 where it has ended meanwhile
