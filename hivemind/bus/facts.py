"""What a Redis says of itself, and what it lets our user do: for `hm doctor`. Nothing is changed.

What may be asked is found out where it is asked: each question stands alone, and one that is refused leaves a gap. What
our user may do is tried without doing it: the commands are queued in a transaction, which is where Redis looks at
its access list, and the transaction is thrown away.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions
from redis.asyncio import connection as connections

from ..errors import RedisError
from ..topics import Names
from .cluster import learn
from .commands import Argument, Commands, pairs_in
from .endpoint import Endpoint
from .functions import LIBRARY
from .server_info import info_in
from .translation import SILENT, translated

SETTINGS = (
    *("maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite"),
    *("client-output-buffer-limit", "client-query-buffer-limit", "proto-max-bulk-len"),
    *("maxclients", "timeout", "tcp-keepalive", "min-replicas-to-write"),
    *("bind", "protected-mode", "port", "requirepass"),
)
_SECRET = "requirepass"
PATIENCE = 4.0  #: seconds that all questions to one server may take
LONG = 1.0  #: seconds for which a write to the disk is watched, if one is under way
STEP = 0.05  #: seconds between two looks at it
RECENT = 3600  #: seconds for which what held Redis up is told
ANY = "*"  #: the channels to which one has to have a right who subscribes to any pattern
MOST = 32  #: primaries of a Cluster that are asked
_TOPIC, _INSTANCE = "hm-doctor", "hm-doctor.0"  # names that nobody uses


@dataclass(frozen=True, slots=True)
class Rights:
    """What our user may not do of what a hive needs: ``commands``, and patterns of ``keys`` and ``channels``."""

    commands: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lacking."""
        return not (self.commands or self.keys or self.channels)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What one server told. ``error`` says why it told nothing at all.

    ``info`` is empty, ``settings`` lacks a name, and the others are None where it did not let us look. ``skew`` is by
    how many seconds its clock is ahead of ours, ``round_trip`` how long an answer takes; ``patterns`` how many distinct
    ones are subscribed to; ``has_functions`` whether ours are loaded (``knows_functions``: it has that command).

    ``writing`` is for how many seconds it was seen to bring its append-only file to its disk, ``stood`` for how many
    that disk held it up when it last did, within an hour, which only a server tells that watches its latency.
    """

    where: str
    error: str = ""
    info: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    rights: Rights | None = None
    skew: float | None = None
    round_trip: float | None = None
    patterns: int | None = None
    has_functions: bool | None = None
    knows_functions: bool = True
    writing: float = 0.0
    stood: float = 0.0


async def facts_of(endpoint: Endpoint, hive: str) -> list[ServerFacts]:
    """Ask the server, of a Cluster each primary. Never raises because one is away."""
    if not endpoint.is_cluster:
        return [await _server(endpoint.of(hive))]
    try:
        found = await learn(endpoint.seeds, lambda address: endpoint.at(address).open("hm:doctor"))
    except RedisError as error:
        return [ServerFacts(endpoint.redacted, str(error))]
    some = sorted(found.primaries)[:MOST]
    return list(await asyncio.gather(*(_server(endpoint.of(hive).at(address)) for address in some)))


async def _server(endpoint: Endpoint) -> ServerFacts:
    try:
        async with asyncio.timeout(PATIENCE), Commands(endpoint, "hm:doctor") as commands:
            return await _asked(endpoint, commands, endpoint.names)
    except TimeoutError:
        return ServerFacts(endpoint.redacted, SILENT)
    except RedisError as error:
        return ServerFacts(endpoint.redacted, str(error).removeprefix(f"{endpoint.redacted}: "))


async def _asked(endpoint: Endpoint, commands: Commands, names: Names) -> ServerFacts:
    skew, round_trip = await clock_of(commands)
    library, patterns, user, info, held, *settings = await commands.pipeline(
        [
            ("FUNCTION", "LIST", "LIBRARYNAME", LIBRARY),
            ("PUBSUB", "NUMPAT"),
            ("ACL", "WHOAMI"),
            ("INFO",),
            ("LATENCY", "LATEST"),
            *(("CONFIG", "GET", name) for name in SETTINGS),
        ]
    )
    said = info_in(info)
    return ServerFacts(
        endpoint.redacted,
        "",
        said,
        _settings(settings),
        user.decode(errors="replace") if isinstance(user, bytes) else "",
        await _rights(endpoint, names),
        skew,
        round_trip,
        patterns if isinstance(patterns, int) else None,
        None if isinstance(library, RedisError) else bool(library),
        not (isinstance(library, RedisError) and "unknown command" in str(library).lower()),
        await _writing(commands, said),
        _stood(held, time.time() + (skew or 0.0)),
    )


async def _writing(commands: Commands, info: Mapping[str, str]) -> float:
    """For how long a write to the disk that is under way goes on, in seconds, up to LONG."""
    began = time.monotonic()
    while info.get("aof_pending_bio_fsync", "0") != "0" and time.monotonic() - began < LONG:
        await asyncio.sleep(STEP)
        (reply,) = await commands.pipeline([("INFO", "persistence")])
        info = info_in(reply)
    return time.monotonic() - began


def _stood(reply: Any, now: float) -> float:
    """Of what LATENCY LATEST says how many seconds it last took to bring an append-only file to the disk, if lately."""
    events = reply if isinstance(reply, list) else []
    took = [latest for name, at, latest, _ in events if name.startswith(b"aof-") and now - at < RECENT]
    return max(took, default=0) / 1000


async def clock_of(commands: Commands) -> tuple[float | None, float]:
    """By how much its clock is ahead of ours, and how long that took. Raises RedisError when it is away."""
    await commands.pipeline([("PING",)])  # the next answer does not wait for a connection
    began = time.time()
    (said,) = await commands.pipeline([("TIME",)])
    took = time.time() - began
    if isinstance(said, RedisError):
        return None, took
    return int(said[0]) + int(said[1]) / 1e6 - began - took / 2, took


def _settings(replies: list[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for reply in replies:
        if not isinstance(reply, RedisError):
            pairs = pairs_in(reply).items()
            found |= {name.decode(): value.decode(errors="replace") for name, value in pairs}
    if found.get(_SECRET):
        found[_SECRET] = "***"
    return found


# -- rights


def wanted(names: Names) -> list[tuple[Argument, ...]]:
    """Everything that nodes, hived and `hm` send, as harmless as it can be: it is only queued, never run."""
    stream, key, channel = names.stream(_TOPIC), names.node(_INSTANCE), names.live(_TOPIC)
    order, kept = names.order(_TOPIC), names.retries(_TOPIC)
    return [
        *((word, key) for word in ("EXISTS", "DEL", "TYPE", "GET", "PTTL", "PEXPIRETIME")),
        *((word, key) for word in ("HGETALL", "HKEYS", "SMEMBERS", "SRANDMEMBER", "HRANDFIELD", "XLEN")),
        *((word, key, "x") for word in ("HGET", "HMGET", "HDEL", "HEXISTS", "SADD", "SREM", "SISMEMBER")),
        *((word, kept, "x") for word in ("ZREM", "ZSCORE", "ZMSCORE")),
        *((word, kept, 0, 0) for word in ("ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREMRANGEBYSCORE")),
        *(("SET", key, "x"), ("PEXPIRE", key, 1), ("HSET", order, "x", "x"), ("HSETNX", order, "x", "x")),
        *(
            ("ZADD", kept, 0, "x"),
            ("XADD", stream, "*", "b", "x"),
            ("XDEL", stream, "0-1"),
            ("XACK", stream, "g", "0-1"),
        ),
        *(("XRANGE", stream, "-", "+"), ("XREVRANGE", stream, "+", "-"), ("XTRIM", stream, "MAXLEN", 1)),
        *(("XCLAIM", stream, "g", "c", 0, "0-1"), ("XPENDING", stream, "g"), ("XREAD", "STREAMS", stream, "0")),
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", stream, ">"),
        *(("XGROUP", "CREATE", stream, "g", "0"), ("XGROUP", "DESTROY", stream, "g")),
        ("XGROUP", "DELCONSUMER", stream, "g", "c"),
        *(("XINFO", "GROUPS", stream), ("XINFO", "CONSUMERS", stream, "g"), ("TIME",)),
        *(("PUBLISH", channel, "x"), ("SUBSCRIBE", channel), ("PSUBSCRIBE", names.live("*"))),
        *(("UNSUBSCRIBE", channel), ("PUNSUBSCRIBE", names.live("*")), ("CLIENT", "UNBLOCK", 1)),
        ("PUBSUB", "NUMSUB", channel),
        ("FCALL", f"{LIBRARY}_renew", 1, key),
    ]


async def _rights(endpoint: Endpoint, names: Names) -> Rights | None:
    """What our user lacks; None where that cannot be known without doing it."""
    connection = await endpoint.open("hm:doctor")
    try:
        if await _said(connection, "MULTI") != b"OK":
            return None
        asked = wanted(names)
        await connection.send_packed_command(connection.pack_commands(asked), check_health=False)
        answers = [await _answer(connection) for _ in asked]
        await _said(connection, "DISCARD")
    except (OSError, TimeoutError, exceptions.RedisError) as error:
        raise translated(error, endpoint.redacted) from error
    finally:
        await connection.disconnect(nowait=True)
    refused = [(command, str(answer)) for command, answer in zip(asked, answers, strict=True) if _is_denied(answer)]
    return _lacking(refused, names)


async def _said(connection: connections.AbstractConnection, *command: Argument) -> Any:
    await connection.send_command(*command, check_health=False)
    return await _answer(connection)


async def _answer(connection: connections.AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


def _is_denied(answer: Any) -> bool:
    return isinstance(answer, exceptions.NoPermissionError) or str(answer).startswith("NOPERM")


def _lacking(refused: list[tuple[tuple[Argument, ...], str]], names: Names) -> Rights:
    commands: dict[str, None] = {}
    keys: dict[str, None] = {}
    channels: dict[str, None] = {}
    for command, text in refused:
        if re.search(r"\bchannels?\b", text):
            channels[ANY if command[0] == "PSUBSCRIBE" else f"hm:{names.hive}:*"] = None
        elif re.search(r"\bkeys?\b", text):
            braced = any(str(word).startswith(f"hm:{{{names.hive}}}") for word in command)
            keys[f"hm:{{{names.hive}}}:*" if braced else f"hm:{names.hive}:*"] = None
        else:
            is_pair = command[0] in ("XGROUP", "XINFO", "CLIENT", "PUBSUB")
            commands["|".join(map(str, command[: 1 + is_pair])).lower()] = None
    return Rights(tuple(commands), tuple(keys), tuple(channels))
