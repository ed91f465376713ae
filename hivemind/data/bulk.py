"""Many small keys are read in a few round trips: a hive of thousands has tens of thousands of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..bus.commands import Argument, Commands, checked, pairs_in
from .backup import Command

AT_ONCE = 200  #: keys in one round trip
SMALL = 500  #: members of a small key
SHORT = 64 * 1024  #: bytes of a small text
_SIZE = {b"string": "STRLEN", b"hash": "HLEN", b"set": "SCARD", b"zset": "ZCARD", b"list": "LLEN"}
_READ: dict[bytes, tuple[str, ...]] = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
    b"list": ("LRANGE", "0", "-1"),
}


async def read_small(commands: Commands, keys: Sequence[bytes]) -> tuple[list[Command], list[bytes]]:
    """What to do to have those of these keys anew that are small, and which are not. Raises RedisError."""
    said = list(map(checked, await commands.pipeline([(word, key) for key in keys for word in ("TYPE", "PTTL")])))
    kinds, lefts = dict(zip(keys, said[::2], strict=True)), dict(zip(keys, said[1::2], strict=True))
    known = [key for key in keys if kinds[key] in _SIZE]
    sizes = await commands.pipeline([(_SIZE[kinds[key]], key) for key in known])
    small = [key for key, size in zip(known, sizes, strict=True) if checked(size) <= _most(kinds[key])]
    found: list[Command] = []
    for key, reply in zip(small, await commands.pipeline([_reading(kinds[key], key) for key in small]), strict=True):
        if words := _words(kinds[key], checked(reply)):
            found.append((words[0], key, *words[1:]))
            if lefts[key] > 0:
                found.append(("PEXPIRE", key, lefts[key]))
    return found, [key for key in keys if key not in {*small} and kinds[key] != b"none"]


def _most(kind: bytes) -> int:
    return SHORT if kind == b"string" else SMALL


def _reading(kind: bytes, key: bytes) -> tuple[Argument, ...]:
    word, *rest = _READ[kind]
    return word, key, *rest


def _words(kind: bytes, reply: Any) -> list[Argument]:
    """The command that makes such a value, but its key; nothing if it has ended."""
    if kind == b"string":
        return [] if reply is None else ["SET", reply]
    if kind == b"hash":
        return ["HSET", *(word for pair in pairs_in(reply).items() for word in pair)] if reply else []
    if not reply:
        return []
    if kind == b"zset":
        return ["ZADD", *(word for pair in zip(reply[1::2], reply[::2], strict=True) for word in pair)]
    return ["SADD" if kind == b"set" else "RPUSH", *reply]
