"""Links: they come back from everything, tell their owner, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from hivemind.backoff import Backoff
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.link import Link, pack
from hivemind.errors import RedisDenied, RedisUnavailable
from hivemind.states import LinkState

from .conftest import MakeServer
from .servers import RedisServer
from .waiting import eventually_async

pytestmark = [pytest.mark.timeout(60), pytest.mark.every_loop]

NEVER = Path("/nowhere/redis.sock")


class Owner:
    """Notes what it is told; greets with PING and waits for the answer."""

    def __init__(self, greeting: BaseException | None = None, ready: BaseException | None = None) -> None:
        self.told: list[str] = []
        self.received = b""
        self.greeting, self.ready = greeting, ready
        self.link: Link | None = None
        self.is_stuck = False

    def open(self, url: str) -> Link:
        self.link = Link(Endpoint.parse(url), "hm:link", self, backoff=Backoff(0.001, 0.01))
        self.link.start()
        return self.link

    def link_received(self, data: bytes) -> None:
        self.received += data
        if data == b"+BAD\r\n":
            raise ValueError("what is this?")
        assert self.link is not None
        self.link.ponged()

    async def link_up(self) -> None:
        self.told.append("up")
        if self.is_stuck:
            await asyncio.Event().wait()
        if self.greeting is not None:
            raise self.greeting

    def link_ready(self) -> None:
        self.told.append("ready")
        if self.ready is not None:
            raise self.ready

    def link_lost(self, reason: str) -> None:
        self.told.append("lost")

    def link_writable(self) -> None:
        self.told.append("writable")

    def link_ping(self) -> None:
        assert self.link is not None
        self.link.write(pack("PING"))


async def within(seconds: float, waiting: Any) -> Any:
    return await asyncio.wait_for(waiting, seconds)


class Deaf(Owner):
    """Its first greeting goes on when it is cancelled, as what waits with redis-py may."""

    async def link_up(self) -> None:
        is_first = not self.told
        self.told.append("up")
        while is_first:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                is_first = False
                await asyncio.Event().wait()


async def test_it_is_up_when_its_owner_has_greeted(server: RedisServer) -> None:
    owner = Owner()
    link = owner.open(server.url)
    await within(2, link.wait(LinkState.UP))
    assert owner.told == ["up", "ready"]
    link.write(pack("ECHO", "hi"))
    await eventually_async(lambda: owner.received == b"$2\r\nhi\r\n")
    await link.aclose()
    assert link.state is LinkState.CLOSED
    await link.aclose()


async def test_it_waits_for_a_redis_that_is_not_there_yet(own_server: RedisServer, caplog: Any) -> None:
    own_server.stop()
    owner = Owner()
    link = owner.open(own_server.url)
    await eventually_async(lambda: len(owner.told) > 3)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    own_server.start()
    await within(2, link.wait(LinkState.UP))
    assert not link.is_first
    await link.aclose()


async def test_a_cut_is_told_and_mended(server: RedisServer) -> None:
    owner = Owner()
    link = owner.open(server.url)
    for number in range(3):
        await within(2, link.wait(LinkState.UP))
        link.drop("a test") if number == 1 else server.command("CLIENT", "KILL", "TYPE", "normal")
        await within(2, link.wait(LinkState.CONNECTING))
    await within(2, link.wait(LinkState.UP))
    assert (owner.told, link.gaps) == (["up", "ready", "lost"] * 3 + ["up", "ready"], 3)
    await link.aclose()


@pytest.mark.parametrize("fault", ["greeting", "ready", "reading"])
async def test_a_fault_of_its_owner_does_not_end_it(server: RedisServer, fault: str) -> None:
    owner = Owner(**({fault: ValueError("a fault")} if fault != "reading" else {}))
    link = owner.open(server.url)
    if fault == "reading":
        await within(2, link.wait(LinkState.UP))
        link.heard(b"+BAD\r\n")
    await eventually_async(lambda: "lost" in owner.told)
    owner.greeting = owner.ready = None
    await within(2, link.wait(LinkState.UP))
    await eventually_async(lambda: owner.told[-1] == "ready")
    await link.aclose()


async def test_a_greeting_that_redis_forbids_is_tried_again_slowly(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivemind.bus.link.DENIED_DELAY", 0.5)  # the back-off of other failures is 10 ms at the most
    owner = Owner(greeting=RedisDenied("no"))
    link = owner.open(server.url)
    await within(2, link.wait(LinkState.DENIED))
    refused = asyncio.get_running_loop().time()
    assert owner.told == ["up", "lost"]
    await eventually_async(lambda: owner.told == ["up", "lost"] * 2)
    assert asyncio.get_running_loop().time() - refused > 0.4
    await link.aclose()


async def test_it_closes_in_the_middle_of_anything(server: RedisServer) -> None:
    for is_stuck, turns in ((True, 50), (False, 0), (True, 0), (False, 3)):
        owner = Owner()
        owner.is_stuck = is_stuck
        link = owner.open(server.url)
        for _ in range(turns):
            await asyncio.sleep(0)
        await within(1, link.aclose())
    await eventually_async(lambda: "name=hm:link" not in server.command("CLIENT", "LIST"))


async def test_a_connection_that_comes_down_while_greeting_is_told(server: RedisServer) -> None:
    owner = Owner()
    owner.is_stuck = True
    link = owner.open(server.url)
    await eventually_async(lambda: owner.told == ["up"])
    owner.is_stuck = False
    owner.greeting = RedisUnavailable("raised too late to be seen")
    server.command("CLIENT", "KILL", "TYPE", "normal")
    await eventually_async(lambda: len(owner.told) >= 4)
    owner.greeting = None
    await within(2, link.wait(LinkState.UP))
    await link.aclose()


async def test_a_greeting_that_swallows_a_cancellation_does_not_hold_the_link_up(server: RedisServer) -> None:
    owner = Deaf()
    link = owner.open(server.url)
    await eventually_async(lambda: "up" in owner.told)
    link.drop("cut")
    await asyncio.wait_for(link.wait(LinkState.UP), 10)
    await link.aclose()


async def test_hundreds_of_reconnects_leave_nothing_behind(server: RedisServer) -> None:
    owner = Owner()
    link = owner.open(server.url)
    await within(2, link.wait(LinkState.UP))
    process = psutil.Process(os.getpid())
    gc.collect()
    sockets, tasks = process.num_fds(), len(asyncio.all_tasks())
    for _ in range(500):
        link.drop("a test")
        await within(2, link.wait(LinkState.CONNECTING))
        await within(2, link.wait(LinkState.UP))
    gc.collect()
    assert link.gaps == 500
    await eventually_async(lambda: process.num_fds() <= sockets + 1)
    assert len(asyncio.all_tasks()) <= tasks + 1
    await link.aclose()


async def test_nothing_is_written_or_asked_while_there_is_no_connection() -> None:
    owner = Owner()
    link = owner.open(f"unix://{NEVER}")
    link.write(b"x")
    link.ping()
    link.pause_reading()
    link.resume_reading()
    link.drop("nothing to drop")
    assert link.lateness == 0.0
    await link.aclose()


async def test_a_process_that_stood_still_does_not_take_its_link_for_dead(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivemind.bus.link.TICK", 0.02)
    owner = Owner()
    link = owner.open(server.url)
    await within(2, link.wait(LinkState.UP))
    link.write(pack("DEBUG", "SLEEP", "0"))
    stop = asyncio.get_running_loop().time() + 0.5
    while asyncio.get_running_loop().time() < stop:  # the loop has no turn for 25 ticks
        pass
    await eventually_async(lambda: owner.received.count(b"PONG") >= 2)
    assert link.gaps == 0
    await link.aclose()


async def test_the_name_is_shown_to_who_lists_connections(make_server: MakeServer) -> None:
    server = make_server()
    link = Owner().open(server.url)
    await within(2, link.wait(LinkState.UP))
    assert "name=hm:link" in server.command("CLIENT", "LIST")
    await link.aclose()
