"""Many small keys are read in a few round trips: a hive of thousands has tens of thousands of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from ..bus.commands import Commands, checked
from .backup import Command
from .kinds import KINDS

AT_ONCE = 200  #: keys in one round trip
SMALL = 500  #: members of a small key
SHORT = 64 * 1024  #: bytes of a small text


async def read_small(commands: Commands, keys: Sequence[bytes]) -> tuple[list[Command], list[bytes]]:
    """What to do to have those of these keys anew that are small, and which are not. Raises RedisError."""
    said = list(map(checked, await commands.pipeline([(word, key) for key in keys for word in ("TYPE", "PTTL")])))
    kinds, lefts = dict(zip(keys, said[::2], strict=True)), dict(zip(keys, said[1::2], strict=True))
    known = [key for key in keys if kinds[key] in KINDS]
    sizes = await commands.pipeline([(KINDS[kinds[key]].size, key) for key in known])
    small = [key for key, size in zip(known, sizes, strict=True) if checked(size) <= _most(kinds[key])]
    found: list[Command] = []
    replies = await commands.pipeline([KINDS[kinds[key]].asks(key) for key in small])
    for key, reply in zip(small, replies, strict=True):
        kind = KINDS[kinds[key]]
        if words := [*chain.from_iterable(kind.members(checked(reply)))]:
            found.append((kind.write, key, *words))
            if lefts[key] > 0:
                found.append(("PEXPIRE", key, lefts[key]))
    return found, [key for key in keys if key not in {*small} and kinds[key] != b"none"]


def _most(kind: bytes) -> int:
    return SHORT if kind == b"string" else SMALL
