"""Reading a stream from one entry to another, as much at once as fits into memory easily, however large entries are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from .commands import Commands

GOAL = 1 << 20  #: bytes in one answer, about
FIRST, MOST = 10, 2000  #: entries in the first answer, and in any

#: id, fields
RawEntry = tuple[bytes, list[bytes]]


async def portions(
    commands: Commands, stream: str, first: str = "-", last: str = "+", goal: int = GOAL
) -> AsyncIterator[list[RawEntry]]:
    """The entries of ``stream`` between two ids, both included, in portions of about ``goal`` bytes. Raises RedisError.

    With "+" it ends with what was the last entry when that was read.
    """
    count = FIRST
    start: str | bytes = first
    while True:
        found: list[Any] = await commands.execute("XRANGE", stream, start, last, "COUNT", count)
        if found:
            yield [(entry, fields) for entry, fields in found]
        if len(found) < count:
            return
        start = b"(" + found[-1][0]
        size = sum(len(field) for _, fields in found for field in fields)
        count = max(1, min(MOST, count * goal // max(1, size)))
