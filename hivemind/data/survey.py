"""What there is of a hive at a server, to be held against what there is at another: kinds, sizes, ids and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..bus.commands import Argument, Commands, checked, pairs_in
from .copy_file import Counts
from .kinds import KINDS

AT_ONCE = 500  #: keys that are asked about in one round trip


@dataclass(slots=True)
class Survey:
    """What was found: how much, and what there is to say of each key. ``ending`` are those that expire."""

    counts: Counts = field(default_factory=Counts)
    facts: dict[bytes, tuple[object, ...]] = field(default_factory=dict)
    ending: set[bytes] = field(default_factory=set)


async def survey(commands: Commands, keys: Sequence[bytes]) -> Survey:
    """Look at these keys. Raises RedisError."""
    found = Survey()
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        said = await commands.pipeline([(word, key) for key in some for word in ("TYPE", "PTTL")])
        kinds = {key: bytes(checked(kind)) for key, kind in zip(some, said[::2], strict=True)}
        found.ending |= {key for key, left in zip(some, said[1::2], strict=True) if checked(left) > 0}
        there = [key for key in some if kinds[key] != b"none"]
        sizes = await commands.pipeline([_size(kinds[key], key) for key in there])
        for key, size in zip(there, sizes, strict=True):
            found.counts.keys += 1
            found.facts[key] = (kinds[key], checked(size))
        for key in (key for key in there if kinds[key] == b"stream"):
            found.facts[key] += await _stream(commands, key, found.counts)
    return found


def differing(one: Survey, other: Survey) -> list[bytes]:
    """The keys of which not the same was found; what expires by itself may be gone."""
    keys = {*one.facts, *other.facts} - one.ending - other.ending
    return sorted(key for key in keys if one.facts.get(key) != other.facts.get(key))


def _size(kind: bytes, key: bytes) -> tuple[Argument, ...]:
    return KINDS[kind].size if kind in KINDS else "XLEN", key


async def _stream(commands: Commands, key: bytes, counts: Counts) -> tuple[object, ...]:
    """Of a stream its length, its last id and how far its groups are; what is pending is only counted."""
    asked = (("XINFO", "STREAM", key), ("XINFO", "GROUPS", key))
    about, groups = map(checked, await commands.pipeline(asked))
    about, groups = pairs_in(about), [pairs_in(one) for one in groups]
    counts.streams += 1
    counts.entries += about[b"length"]
    counts.groups += len(groups)
    counts.pending += sum(one[b"pending"] for one in groups)
    return about[b"length"], about[b"last-generated-id"], tuple(sorted(map(_group, groups)))


def _group(group: dict[bytes, Any]) -> tuple[bytes, bytes]:
    return group[b"name"], group[b"last-delivered-id"]
