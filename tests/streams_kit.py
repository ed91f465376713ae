"""What a sender does to a stream, call by call: ``Appender`` does it in one write for many."""

from __future__ import annotations

from collections.abc import Sequence

from hivemind.bus.commands import Argument
from hivemind.bus.functions import Functions
from hivemind.topics import Names


async def append(
    functions: Functions,
    names: Names,
    topic: str,
    sender: tuple[str, int],
    first: int,
    bodies: Sequence[bytes],
    cap: tuple[str, str] = ("", ""),
) -> int:
    """Append messages of one life of a sender, the first of which has number ``first``; how many were not there yet.

    ``cap`` is how many entries, and milliseconds, are kept.
    """
    arguments: tuple[Argument, ...] = ("PUBLISH", names.live(topic), *sender, first, *cap, *bodies)
    said = int(await functions.call("append", (names.stream(topic), names.producers(topic)), arguments))
    return said if said >= 0 else -1 - said  # the stream was not there
