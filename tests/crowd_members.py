"""A part of the crowd: ``python -m tests.crowd_members URL FIRST COUNT``. It begins when it reads a line.

Each member is an instance without a node: a ``Link`` of its own, which pauses between tries as all do, a lease that it
takes and renews by the functions that nodes use, and a beat that is heard here. Every STEP it prints a Tally.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import hiredis
import orjson

from hivemind.bell import Bell
from hivemind.bus.commands import Argument
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import LIBRARY, Functions
from hivemind.bus.link import PING, Link, pack
from hivemind.bus.outage import Outage
from hivemind.bus.translation import reply_error
from hivemind.data.records import About, ServiceRecord, Stats, SubscriptionRecord
from hivemind.data.registry import Registry
from hivemind.errors import InstanceHeld, RedisError, RedisUnavailable
from hivemind.node.runner import calm_collector, new_loop
from hivemind.states import LinkState
from hivemind.topics import Names

HIVE, NODE = "crowd", "member"
HEARTBEAT, LEASE = 2.0, 6.0
STEP = 0.25  # seconds


@dataclass(frozen=True, slots=True)
class Tally:
    """Since when nobody waits any more for Redis to confirm a lease, and how many beats were heard here."""

    confirmed: float = 0.0  # by the machine's monotonic clock; 0.0: somebody has never had one
    heard: int = 0


class Wire:
    """One link, over which functions are called, as ``Functions`` does over a pool."""

    def __init__(self, endpoint: Endpoint, name: str) -> None:
        self.link = Link(endpoint.told_to(Outage()), name, self)
        self.is_up = Bell()
        self._asked: deque[asyncio.Future[Any] | None] = deque()
        self._reader = hiredis.Reader()

    async def call(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a function of the library. Raises RedisError."""
        return await self._ask(pack("FCALL", f"{LIBRARY}_{name}", len(keys), *keys, *arguments))

    async def publish(self, channel: str, body: bytes) -> None:
        """Raises RedisError."""
        await self._ask(pack("PUBLISH", channel, body))

    async def _ask(self, command: bytes) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        self.link.write(command)
        return await future

    async def link_up(self) -> None:
        """The first answer is the greeting."""
        await self._ask(PING)

    def link_ready(self) -> None:
        """It beats at once."""
        self.is_up.ring()

    def link_received(self, data: bytes) -> None:
        """Answers, in the order of what was asked."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            future = self._asked.popleft()
            if future is None:
                self.link.ponged()
            elif isinstance(reply, Exception):
                future.set_exception(reply_error(reply))
            else:
                future.set_result(reply)

    def link_lost(self, reason: str) -> None:
        """Nothing of what was asked is answered any more."""
        self._reader = hiredis.Reader()
        while self._asked:
            future = self._asked.popleft()
            if future is not None and not future.done():
                future.set_exception(RedisUnavailable(reason))

    def link_writable(self) -> None:
        """So little is written that there always is room."""

    def link_ping(self) -> None:
        """Somebody has to answer it."""
        self._asked.append(None)
        self.link.write(PING)


class Member:
    """One instance: registers, and renews its lease every HEARTBEAT, as ``Heart`` does."""

    def __init__(self, endpoint: Endpoint, instance: str) -> None:
        self._names, self._instance = Names(HIVE), instance
        self._wire = Wire(endpoint, f"hm:{instance}:out")
        functions = cast(Functions, self._wire)  # it is called in no other way
        self._registry = Registry(cast(Any, None), functions, self._names)
        self._about = About(NODE, "here", 1, time.time(), LEASE, watched=False)
        self._life, self._beats = 0, 0
        self.confirmed = 0.0

    async def live(self) -> None:
        """Be there for ever."""
        self._wire.link.start()
        while True:
            try:
                await self._wire.link.wait(LinkState.UP)
                asked = time.monotonic()
                await self._beat()
                self.confirmed = asked
            except RedisError:
                continue
            except InstanceHeld:  # by ourselves: Redis registered us, and the connection broke before it had said so
                await asyncio.sleep(LEASE / 3)
                continue
            await self._wire.is_up.wait(HEARTBEAT * random.uniform(0.8, 1.2))

    async def _beat(self) -> None:
        self._beats += 1
        service = ServiceRecord("simulated", "running", self._beats, kept="live")
        times, delays = (self._beats * 700, 2, self._beats, 90, 3), (self._beats * 900, 1, 40, self._beats, 20, 2)
        heard = SubscriptionRecord("simulated", "handle", received=self._beats, times=times, delays=delays)
        stats = Stats("running", (service,), (heard,), memory=40_000_000, cpu=0.0125)
        if self._life:  # the lease surely is ours: both commands leave at once
            told = asyncio.ensure_future(self._tell())
            await asyncio.sleep(0)
            try:
                if not await self._registry.renew(self._instance, self._life, LEASE, stats):
                    await self._registry.register_again(self._instance, self._life, self._about, stats)
            finally:
                await told
        else:
            self._life = await self._registry.register(self._instance, self._about, stats)
            await self._tell()

    async def _tell(self) -> None:
        said = {"n": self._instance, "e": self._life, "t": time.time(), "last": {"simulated": self._beats}}
        await self._wire.publish(self._names.beat(self._instance), orjson.dumps(said))


class Ear:
    """Hears the beats of all members here, over one link: in a hive each hears its own."""

    def __init__(self, endpoint: Endpoint, instances: Sequence[str]) -> None:
        self._link = Link(endpoint.told_to(Outage()), "hm:crowd:in", self)
        self._wanted = pack("SUBSCRIBE", *map(Names(HIVE).beat, instances))
        self._reader = hiredis.Reader()
        self.heard = 0

    def start(self) -> None:
        self._link.start()

    async def link_up(self) -> None:
        self._reader = hiredis.Reader()
        self._link.write(self._wanted)

    def link_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self.heard += isinstance(reply, list) and reply[0] == b"message"
        self._link.ponged()

    def link_ready(self) -> None: ...

    def link_lost(self, reason: str) -> None: ...

    def link_writable(self) -> None: ...

    def link_ping(self) -> None:
        self._link.write(PING)


async def main(url: str, first: int, count: int) -> None:
    """Let ``count`` members live until this process is ended."""
    endpoint = Endpoint.parse(url)
    names = [f"{NODE}.{number}" for number in range(first, first + count)]
    members, ear = [Member(endpoint, name) for name in names], Ear(endpoint, names)
    calm_collector()
    logging.disable()  # each would say that Redis is away
    tell({"ready": count})
    await asyncio.to_thread(sys.stdin.readline)
    ear.start()
    lives = [asyncio.create_task(member.live()) for member in members]
    while True:
        await asyncio.sleep(STEP)
        for life in lives:
            if life.done():
                life.result()
        tell(asdict(Tally(min(one.confirmed for one in members), ear.heard)))


def tell(value: object) -> None:
    """One line of JSON."""
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
