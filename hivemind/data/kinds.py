"""The kinds of keys that a hive has, but streams: how large a key is, how it is read, how it is made anew. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..bus.commands import Argument, pairs_in

#: what one member of a key is written with: a name and its value, a score and its member, or only itself
Member = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. ``size`` is the command that says how many members there are, of a text how many bytes; ``read`` the
    one that says all of it, with what follows the key; ``write`` the one that adds ``members`` of such an answer.
    """

    size: str
    read: tuple[str, ...]
    write: str
    members: Callable[[Any], Iterable[Member]]

    def asks(self, key: bytes) -> tuple[Argument, ...]:
        """The command that says all of ``key``."""
        word, *rest = self.read
        return word, key, *rest


def _text(reply: bytes | None) -> list[Member]:
    return [] if reply is None else [(reply,)]


def _pairs(reply: Any) -> Iterable[Member]:
    return pairs_in(reply).items()


def _each(reply: Iterable[bytes]) -> Iterable[Member]:
    return ((member,) for member in reply)


def _scored(reply: list[bytes]) -> Iterable[Member]:
    return zip(reply[1::2], reply[::2], strict=True)


#: by what TYPE says
KINDS: Mapping[bytes, Kind] = {
    b"string": Kind("STRLEN", ("GET",), "SET", _text),
    b"hash": Kind("HLEN", ("HGETALL",), "HSET", _pairs),
    b"set": Kind("SCARD", ("SMEMBERS",), "SADD", _each),
    b"zset": Kind("ZCARD", ("ZRANGE", "0", "-1", "WITHSCORES"), "ZADD", _scored),
    b"list": Kind("LLEN", ("LRANGE", "0", "-1"), "RPUSH", _each),
}
