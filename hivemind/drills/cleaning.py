"""What must not stay of a drill in Redis; and everything of a hive, forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from ..bus.commands import Argument, Commands, checked, pairs_in
from ..errors import RedisRefused
from ..topics import Names
from .probe import INSTANCES, PREFIX, TOPICS

_FORGET = """
for _, pattern in ipairs(ARGV) do
  for _, key in ipairs(redis.call('KEYS', pattern)) do
    redis.call('DEL', key)
  end
end
return 1
"""


async def forget(commands: Commands, names: Names) -> None:
    """Let Redis forget everything of the hive, in one step. Raises RedisError."""
    await commands.execute("EVAL", _FORGET, 0, f"hm:{names.hive}:*", f"hm:{{{names.hive}}}:*")


async def clean(commands: Commands, names: Names) -> None:
    """Remove all that the probes of drills have left: topics, groups, and themselves. Raises RedisError.

    Call it when none of them runs.
    """
    hashes = (names.kept(), names.readings(), names.readers(), names.resolvers(), names.resolved())
    found: list[tuple[Argument, ...]] = [await _fields(commands, key) for key in hashes]
    jobs: list[tuple[Argument, ...]] = [
        ("HDEL", key, *fields) for key, fields in zip(hashes, found, strict=True) if fields
    ]
    jobs += [("SREM", names.nodes(), *INSTANCES), ("ZREM", names.topics(), *TOPICS)]
    for key in _keys(names):
        jobs.append(("DEL", key))
    for reply in await commands.pipeline(jobs):
        if not isinstance(reply, RedisRefused):  # somebody wrote something else in its place
            checked(reply)


async def left(commands: Commands, names: Names) -> list[str]:
    """The keys in Redis that are there because of probes."""
    there = _keys(names)
    replies = await commands.pipeline([("EXISTS", key) for key in there])
    return [key for key, reply in zip(there, replies, strict=True) if checked(reply)]


async def _fields(commands: Commands, key: str) -> tuple[Argument, ...]:
    """The fields of a hash that are a probe's, or a probe's topic's."""
    try:
        said = await commands.execute("HGETALL", key)
    except RedisRefused:
        return ()
    return tuple(name for name in pairs_in(said) if name.startswith(PREFIX.encode()))


def _keys(names: Names) -> list[str]:
    return [*_of_instances(names), *_of_topics(names)]


def _of_instances(names: Names) -> Sequence[str]:
    return [key for one in INSTANCES for key in (names.node(one), names.epoch(one), names.whose(one))]


def _of_topics(names: Names) -> Sequence[str]:
    kinds = (names.stream, names.producers, names.retries, names.letters, names.order, names.memory)
    return [key(one) for one in TOPICS for key in kinds]
