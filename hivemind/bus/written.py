"""Commands as they stand in a file: the bytes that would travel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import hiredis

from .commands import Argument
from .link import pack


def written(commands: Iterable[Sequence[Argument]]) -> bytes:
    """Commands, one behind the other."""
    return b"".join([pack(*command) for command in commands])


def commands_in(body: bytes) -> list[list[bytes]]:
    """What ``written`` wrote. Raises ValueError where it is something else, or cut off."""
    reader = hiredis.Reader()
    found: list[list[bytes]] = []
    try:
        reader.feed(body)
        while (command := reader.gets()) is not False:
            if not isinstance(command, list) or not all(isinstance(word, bytes) for word in command):
                raise ValueError("there is something else than commands in it")
            found.append(command)
    except hiredis.HiredisError:
        raise ValueError("there is something else than commands in it") from None
    if reader.has_data():
        raise ValueError("a command is cut off")
    return found
