"""The live bus in outages that take long: Redis frozen, away, out of reach, slow, replaced. On every server at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from .bus_kit import flows, is_in_order, pair, passes
from .conftest import MakeServer
from .proxy import Mode, Proxy
from .sentinel import SentinelServer
from .servers import RedisServer, find_server, free_port, installed
from .waiting import eventually_async

Start = Callable[..., RedisServer]  #: starts one more server, of the kind that is tested


async def frozen_for_20_seconds(server: RedisServer) -> None:
    """SIGSTOP: noticed within 6 s, healed within 1 s of SIGCONT."""
    async with pair(server.url) as (alfred, bruce, got):
        server.freeze()
        frozen = time.monotonic()
        await eventually_async(lambda: not (alfred.outbox.link.is_up or bruce.live.link.is_up), 6.0)
        alfred.send("x", "while frozen")
        await eventually_async(lambda: time.monotonic() - frozen > 20, 25.0)
        server.thaw()
        thawed = time.monotonic()
        await flows(alfred, got, 5.0)
        assert time.monotonic() - thawed < 1.0
        assert got.payloads[1] == "while frozen"


async def away_for_30_seconds(server: RedisServer) -> None:
    """A service goes on sending 1,000 messages a second: all are handled, once, in order."""
    async with pair(server.url) as (alfred, bruce, got):
        begun, sent = time.monotonic(), 1

        async def tick(until: Callable[[], bool]) -> None:
            nonlocal sent
            while not until():
                due = int((time.monotonic() - begun) * 1000)
                for number in range(sent, due):
                    alfred.send("x", number)
                sent = max(sent, due)
                await passes(0.005)

        await tick(lambda: time.monotonic() - begun > 0.5)
        await asyncio.to_thread(server.stop)
        gone = time.monotonic()
        await tick(lambda: time.monotonic() - gone > 30)
        await asyncio.to_thread(server.start)
        back = time.monotonic()
        await tick(lambda: bruce.live.link.is_up)
        assert time.monotonic() - back < 1.0
        await tick(lambda: time.monotonic() - back > 1.5)
        await alfred.flush()
        await eventually_async(lambda: got.accounted == sent)
        assert got.sequences == list(range(1, sent + 1))
        assert sent > 30_000


async def half_open(server: RedisServer) -> None:
    """A network that swallows everything is noticed within 6 s, on both links."""
    async with Proxy(server.socket) as proxy, pair(f"redis://127.0.0.1:{proxy.port}") as (alfred, bruce, got):
        proxy.set(Mode.BLACKHOLE)
        await eventually_async(lambda: not (alfred.outbox.link.is_up or bruce.live.link.is_up), 6.0)
        proxy.set(Mode.PASS)
        assert await flows(alfred, got, within=2.0) < 1.5


async def slow_and_steady(server: RedisServer) -> None:
    """A link that is merely slow is never taken for dead."""
    async with (
        Proxy(server.socket, latency=0.4) as proxy,
        pair(f"redis://127.0.0.1:{proxy.port}") as (alfred, bruce, got),
    ):
        begun = time.monotonic()
        while time.monotonic() - begun < 8:
            assert await flows(alfred, got, within=3.0) < 2.0
        assert (alfred.outbox.link.gaps, bruce.live.link.gaps) == (0, 0)


async def failover(start: Start) -> None:
    """Sentinels say where the primary is, also after it froze and another was made primary."""
    primary = start(tcp=True, lines=("repl-diskless-sync-delay 0",))
    replica = start(tcp=True, lines=(f"replicaof 127.0.0.1 {primary.port}",))
    await eventually_async(lambda: "master_link_status:up" in replica.command("INFO", "replication"))
    with SentinelServer(primary) as sentinel:
        await eventually_async(lambda: len(sentinel.command("SENTINEL", "REPLICAS", "main")) == 1, 15.0)
        nobody = free_port()
        url = f"redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{sentinel.port}/main?hive=t"
        async with pair(url) as (alfred, _, got):
            primary.freeze()
            await flows(alfred, got, within=20.0)
            assert is_in_order(got)
            told = await alfred.commands.execute("INFO", "server")
            assert f"tcp_port:{replica.port}" in told.decode()
            primary.thaw()
            await flows(alfred, got, within=2.0)


async def on(kind: str, scenario: Callable[[], Awaitable[None]]) -> None:
    try:
        await scenario()
    except Exception as error:
        error.add_note(f"on {kind}")
        raise


@pytest.mark.alone
@pytest.mark.timeout(90)
async def test_frozen_for_20_s_away_for_30_s_half_open_and_failover(make_server: MakeServer) -> None:
    """Mostly waiting: together, and on every server at once, they take as long as the longest."""
    async with asyncio.TaskGroup() as tasks:
        for kind in installed():
            start = partial(make_server, program=find_server(kind))
            for scenario in (frozen_for_20_seconds, away_for_30_seconds, half_open, slow_and_steady):
                tasks.create_task(on(kind, partial(scenario, start())))
            tasks.create_task(on(kind, partial(failover, start)))
