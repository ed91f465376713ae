"""What a sender does to a stream, call by call: ``Appender`` does it in one write for many."""

from __future__ import annotations

from collections.abc import Sequence

from hivemind.bus.commands import Argument
from hivemind.bus.functions import Functions
from hivemind.message import MAX_COUNT
from hivemind.topics import Names


async def append(
    functions: Functions,
    names: Names,
    topic: str,
    sender: tuple[str, int],
    first: int,
    bodies: Sequence[bytes],
    cap: tuple[str, str] = ("", ""),
    after: tuple[int, str] = (0, ""),
    written: int = MAX_COUNT,
) -> int:
    """Append messages of one life of a sender, the first of which has number ``first``; how many were not there yet.

    ``cap`` is how many entries, and milliseconds, are kept; ``after`` which one has to be there, and whether nothing
    may be appended if it is not; ``written`` which one may be there at the most.
    """
    arguments: tuple[Argument, ...] = ("PUBLISH", names.live(topic), *sender, first, *after, written, *cap, *bodies)
    said = int(await functions.call("append", (names.stream(topic), names.producers(topic)), arguments))
    last = -(said + 1) // 2  # where the stream was not there
    return said if said >= 0 else len(bodies) - max(0, last - first + 1)
