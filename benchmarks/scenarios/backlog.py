"""Ten million entries in a stream with three groups: what a message costs there, beside the same in an empty one.

One group, our node's, follows what is sent. The two others are only there and have read nothing, so that nothing may be
trimmed. Then another node joins, from the first entry on, and the lag of all groups is read. At last the two have
read all, so that the sender trims its stream to the million that is kept by default, while messages flow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import orjson
from redis import Redis

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.data.backlog import backlogs
from hivemind.data.entries import KeptTopic
from hivemind.topics import Names

from .. import machine
from ..bench import READY, TOPIC, Bench, Case, Lost, Measured, Part, Readings, Setup, measure_at, stage
from ..processes import Processes, node
from ..servers import RedisServer
from ..task import Task
from ..window import Window, wait_until
from .durable import STREAM

EMPTY, FULL = 0, 10_000_000
GROUPS = ("slow", "slower")
JOINED, NODE = "joins at the first: messages/s", "joins at the first: MiB of RSS"
SPACE, LAG = "bytes of Redis an entry", "all groups' lag is read, ms"
TRIMMED = "while the sender trims: messages/s"
KEPT = 1_000_000  #: entries that a durable topic keeps by default
TENDED = 30.0  #: seconds in which a sender looks at its streams
PORTION = 10_000
FILL = "for _ = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', 'b', ARGV[2]) end"
BODY = {"v": 1, "n": "filler.0", "e": 1795321510007, "s": 1234567, "t": 1795321514.224113, "d": {"i": 1, "unit": "C"}}
FOLLOWING = Setup(node("send"), [Part(node("handle_durable"))], durable=True)


def rate(entries: int) -> str:
    """The reading of messages a second behind so many entries."""
    return f"{entries:,} entries: messages/s"


def cost(entries: int) -> str:
    """The reading of what a message costs Redis there."""
    return f"{entries:,} entries: µs of Redis"


def empty(bench: Bench) -> Readings:
    """Messages through a stream that has only what is sent."""
    with stage() as (server, processes):
        prepare(server, EMPTY)
        return followed(EMPTY, follow(bench, server, processes.folder / "follow"))


def full(bench: Bench) -> Readings:
    """The same behind all the entries, and what else is done there."""
    with stage() as (server, processes):
        space = prepare(server, FULL)
        found = followed(FULL, follow(bench, server, processes.folder / "follow"))
        found |= {SPACE: space, **join(bench, server, processes.folder / "join"), LAG: asyncio.run(lag(server.url))}
        return found | trim(bench, server, processes.folder / "trim")


def prepare(server: RedisServer, entries: int) -> float:
    """Fill the stream of a topic that is kept, and make the groups; return how many bytes of memory an entry took."""
    server.configure(appendonly="no")  # the disk would be busy with what was filled in while we measure
    before = machine.mebibytes(server.pid)
    with Redis.from_url(server.url) as redis:
        redis.hset("hm:{default}:kept", TOPIC, orjson.dumps({"at": time.time_ns() // 1_000_000}))
        for _ in range(entries // PORTION):
            redis.eval(FILL, 1, STREAM, PORTION, orjson.dumps(BODY))
        for group in GROUPS:
            redis.xgroup_create(STREAM, group, "0", mkstream=True)
    return (machine.mebibytes(server.pid) - before) * 2**20 / max(1, entries)


def follow(bench: Bench, server: RedisServer, folder: Path) -> Measured:
    """A node sends, another handles what comes from now on."""
    return measure_at(bench, FOLLOWING, (server.url, server.pid), folder)


def followed(entries: int, found: Measured) -> Readings:
    """What that says."""
    return {rate(entries): found.rate, cost(entries): found.server_cpu / sum(found.handled) * 1e6}


def join(bench: Bench, server: RedisServer, folder: Path) -> Readings:
    """A node with a group of its own reads all that there is."""
    with Processes(folder) as processes:
        window = Window.create(folder / "window")
        pid = processes.start(node("handle_all"), Task(server.url, str(folder / "window")))
        processes.wait_until("it handles", lambda: window.handled[0] > 0, READY)
        time.sleep(bench.warmup)
        before, began = window.handled[0], time.perf_counter()
        time.sleep(bench.seconds)
        handled, seconds = window.handled[0] - before, time.perf_counter() - began
        processes.check()
        if window.handled[0] >= FULL:
            raise Lost("it handled all that there was: what was measured is no backlog")
        return {JOINED: handled / seconds, NODE: machine.mebibytes(pid)}


async def lag(url: str) -> float:
    """Milliseconds that it takes to read how far all groups are, as hm lag does."""
    async with Commands(Endpoint.parse(url)) as commands:
        await commands.ping()
        began = time.perf_counter()
        (found,) = await backlogs(commands, Names("default"), [KeptTopic(TOPIC, 0)], [], {})
        taken = time.perf_counter() - began
    if len(found.groups) != len(GROUPS) + 2 or found.length < FULL:
        raise Lost(f"a look at the groups saw {len(found.groups)}, on {found.length:,} entries")
    return taken * 1000


def trim(bench: Bench, server: RedisServer, folder: Path) -> Readings:
    """Nothing holds the oldest entries back any more: the sender removes them while messages flow."""
    with Redis.from_url(server.url) as redis:
        redis.hdel("hm:{default}:readings", f"handle_all {TOPIC}")
        redis.xgroup_destroy(STREAM, "handle_all")
        for group in GROUPS:
            redis.xgroup_setid(STREAM, group, "$")

        def length() -> int:
            return int(redis.xlen(STREAM))

        def trimming() -> None:
            before.append(length())
            wait_until("the sender trims", lambda: length() < before[0] - PORTION, TENDED)

        before: list[int] = []
        found = measure_at(bench, FOLLOWING, (server.url, server.pid), folder, trimming)
        if not KEPT < length() < before[0] - sum(found.handled):
            raise Lost(f"of {before[0]:,} entries {length():,} were left: it did not trim all the time")
        return {TRIMMED: found.rate}


CASES: Mapping[str, Case] = {
    "empty": Case(empty, (rate(EMPTY), cost(EMPTY))),
    "full": Case(full, (rate(FULL), cost(FULL), SPACE, JOINED, NODE, LAG, TRIMMED)),
}
