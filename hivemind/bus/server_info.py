"""What a Redis says of itself to INFO: its lines, which server it is, and of which version. Pure.

A Valkey says in ``redis_version`` which Redis it is compatible with, and in ``valkey_version`` its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OLDEST = 7  #: the first major version of Redis that has functions and sharded pub/sub
LONGEST = 9  #: digits of a major version; more are none


def info_in(reply: Any) -> dict[str, str]:
    """What INFO says, by name; nothing where it was refused, or is no text."""
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    lines = text.splitlines() if isinstance(text, str) else []
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def server_name(info: Mapping[str, str]) -> str:
    """For people: "Redis 7.0.15", "Valkey 9.1.2"; "" where it does not say."""
    known = (("Valkey", "valkey_version"), ("Redis", "redis_version"))
    return next((f"{name} {info[key]}" for name, key in known if info.get(key)), "")


def major_version(info: Mapping[str, str]) -> int | None:
    """Which Redis it is, or is compatible with; None where it does not say, as where an access list forbids it."""
    major = info.get("redis_version", "").partition(".")[0]
    return int(major) if major.isascii() and major.isdigit() and len(major) <= LONGEST else None


def is_valkey(info: Mapping[str, str]) -> bool:
    """Whether it is a Valkey, of which not all holds that holds of the Redis that it is compatible with."""
    return "valkey_version" in info or info.get("server_name") == "valkey"
