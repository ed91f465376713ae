"""The watchdog's hands on a real registry: whom they watch over."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hivemind.bus.bus import Bus
from hivemind.data.records import About, Stats
from hivemind.data.registry import Registry
from hivemind.errors import InstanceHeld
from hivemind.identity import ProcessIdentity
from hivemind.process_table import parent_of
from hivemind.supervisor.guard import Guard
from hivemind.supervisor.keeper import kill
from hivemind.supervisor.plan import Plan
from hivemind.supervisor.running import Running
from hivemind.supervisor.standing import is_held, is_stopped

from .bus_kit import on_bus
from .servers import RedisServer
from .test_registry import registry_of
from .waiting import eventually_async

LEASE = 0.6  #: seconds


class Runs:
    """What supervisord has as running: always the same."""

    def __init__(self, **processes: ProcessIdentity) -> None:
        self.processes = processes

    def now(self) -> dict[str, ProcessIdentity]:
        return {name.replace("_", "."): process for name, process in self.processes.items()}

    def known(self) -> None:
        """It has to be looked at each time."""

    def plan(self) -> Plan:
        """With nothing in it."""
        return Plan(())


def about(process: ProcessIdentity) -> About:
    return About("batman", process.host, process.pid, time.time(), LEASE, process)


def watching(bus: Bus, process: ProcessIdentity | None = None) -> tuple[Registry, Guard]:
    """Who watches over that process, by default this one, as ``batman.0``, and kills nobody by itself."""
    engine = SimpleNamespace(
        settings=SimpleNamespace(constants=SimpleNamespace(LEASE=LEASE)),
        paths=SimpleNamespace(stopping=SimpleNamespace(exists=lambda: True)),
    )
    running = cast(Running, Runs(batman_0=process or ProcessIdentity.current()))
    registry = registry_of(bus)
    return registry, Guard(cast(Any, engine), registry, bus, running)


async def test_names_that_nobody_has_are_struck_from_the_list(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "hived", hive_name) as bus:
        registry, guard = watching(bus)
        await registry.register("batman.0", about(ProcessIdentity.current()), Stats())
        server.command("SADD", bus.names.nodes(), *(f"x.{at}" for at in range(50)))
        await guard._look()
        assert server.command("SMEMBERS", bus.names.nodes()) == ["batman.0"]


@asynccontextmanager
async def past_its_lease(url: str, hive: str, process: ProcessIdentity) -> AsyncIterator[tuple[Registry, Guard, int]]:
    """Who watches over that process, which registered as that life of ``batman.0`` and was silent for a whole lease."""
    async with on_bus(url, "hived", hive) as bus:
        registry, guard = watching(bus, process)
        life = await registry.register("batman.0", about(process), Stats())
        await guard._look()
        await asyncio.sleep(LEASE)
        yield registry, guard, life


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that only waits, and that a signal ends."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            yield process
        finally:
            process.kill()


TRACED = """
import ctypes, os, signal, time

pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
print(pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def held() -> Iterator[ProcessIdentity]:
    """A process that its parent holds as a debugger does."""
    with subprocess.Popen([sys.executable, "-c", TRACED], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        found = ProcessIdentity.of(int(parent.stdout.readline()))
        assert found is not None
        try:
            yield found
        finally:
            parent.kill()
            kill(found, signal.SIGKILL)


def identity_of(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    found = ProcessIdentity.of(process.pid)
    assert found is not None
    return found


@pytest.mark.every_server
async def test_who_hangs_for_longer_than_its_lease_is_watched_though_the_registry_is_read_again(
    server: RedisServer, hive_name: str
) -> None:
    async with on_bus(server.url, "hived", hive_name) as bus:
        registry, guard = watching(bus)
        await registry.register("batman.0", about(ProcessIdentity.current()), Stats())
        await guard._look()
        assert guard.watchdog.is_calm
        for _ in range(3):
            await asyncio.sleep(LEASE)
            guard._next = 0.0  # it is time to read all of it
            await guard._look()
            assert not guard.watchdog.is_calm, "who was registered, and runs, is late"


async def test_who_says_of_itself_that_it_is_the_process_of_another_does_not_have_it_killed(
    server: RedisServer, hive_name: str
) -> None:
    async with on_bus(server.url, "hived", hive_name) as bus:
        registry, guard = watching(bus)
        mine = about(ProcessIdentity.current())
        life = await registry.register("batman.0", mine, Stats())
        claims = replace(mine, node="joker")
        claimed = await registry.register("joker.0", claims, Stats())
        for _ in range(7):
            await registry.renew("batman.0", life, LEASE, Stats())
            guard._next = 0.0  # it is time to read all of it
            await guard._look()
            assert guard.watchdog.is_calm, "batman.0 beats"
            await asyncio.sleep(LEASE / 6)
        await registry.register_again("joker.0", claimed, replace(claims, watched=False), Stats())
        await asyncio.sleep(LEASE)
        guard._next = 0.0
        await guard._look()
        assert not guard.watchdog.is_calm, "batman.0 is silent, whoever says that it must not be watched"


@pytest.mark.skipif(sys.platform != "linux", reason="another system has another ptrace")
async def test_whom_a_debugger_holds_is_not_late_and_is_when_it_was_let_go_and_does_nothing(
    server: RedisServer, hive_name: str, held: ProcessIdentity
) -> None:
    async with past_its_lease(server.url, hive_name, held) as (_, guard, _life):
        await eventually_async(lambda: is_held(held))
        await guard._look()
        assert guard.watchdog.is_calm
        os.kill(held.pid, signal.SIGSTOP)  # to be what stops it when its debugger is gone
        tracer = parent_of(held.pid)
        assert tracer is not None
        os.kill(tracer, signal.SIGKILL)
        await eventually_async(lambda: not is_held(held))
        await guard._look()
        assert not guard.watchdog.is_calm


async def test_who_goes_on_while_it_was_to_write_its_stacks_is_left_alone(server: RedisServer, hive_name: str) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        me = ProcessIdentity.current()
        async with past_its_lease(server.url, hive_name, me) as (registry, guard, life):
            ending = asyncio.create_task(guard._end("batman.0", me))
            await eventually_async(lambda: bool(heard))
            await registry.register_again("batman.0", life, about(me), Stats())
            while not ending.done():
                assert await registry.renew("batman.0", life, LEASE, Stats())
                await asyncio.sleep(LEASE / 6)
            await ending  # or none of us would see this line
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.every_server
async def test_who_hung_before_we_began_to_watch_is_late(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "hived", hive_name) as bus:
        registry, guard = watching(bus)
        await registry.register("batman.0", about(ProcessIdentity.current()), Stats())
        await asyncio.sleep(2 * LEASE)
        await guard._look()
        assert not guard.watchdog.is_calm


async def test_of_who_says_goodbye_and_of_who_has_its_number_nothing_is_held_against_it(
    server: RedisServer, hive_name: str, other: subprocess.Popen[bytes]
) -> None:
    async with on_bus(server.url, "hived", hive_name) as bus:
        registry, guard = watching(bus)
        life = await registry.register("batman.0", about(ProcessIdentity.current()), Stats())
        await registry.deregister("batman.0", life)
        await guard._look()
        assert guard.watchdog.is_calm
        await registry.register("batman.0", about(identity_of(other)), Stats())
        await asyncio.sleep(2 * LEASE)
        await guard._look()
        assert guard.watchdog.is_calm, "it is another process whose lease is over"


async def test_who_is_stopped_is_late_also_if_no_lease_of_it_is_known_and_who_only_waits_is_not(
    server: RedisServer, hive_name: str, other: subprocess.Popen[bytes]
) -> None:
    async with on_bus(server.url, "hived", hive_name) as bus:
        _, guard = watching(bus, identity_of(other))
        for number, is_late in ((signal.SIGSTOP, True), (signal.SIGCONT, False), (signal.SIGSTOP, True)):
            other.send_signal(number)
            await eventually_async(lambda number=number: is_stopped(identity_of(other)) == (number == signal.SIGSTOP))  # type: ignore[misc]
            await guard._look()
            assert guard.watchdog.is_calm != is_late


async def test_of_who_ends_while_it_was_to_write_its_stacks_nothing_is_said_though_its_successor_beats(
    server: RedisServer, hive_name: str, other: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    hung = identity_of(other)
    async with past_its_lease(server.url, hive_name, hung) as (registry, guard, _):
        with caplog.at_level(logging.INFO, "hived"):
            ending = asyncio.create_task(guard._end("batman.0", hung))
            await eventually_async(lambda: not hung.is_alive())  # of the signal, which it does not know
            life = await registry.register("batman.0", about(ProcessIdentity.current()), Stats())
            while not ending.done():
                assert await registry.renew("batman.0", life, LEASE, Stats())
                await asyncio.sleep(LEASE / 6)
            await ending
        assert [one.message for one in caplog.records] == [
            f"batman.0 (process {hung.pid}) has not moved for a lease: it hangs, and is killed"
        ]


async def test_who_is_stopped_is_late_though_another_has_its_number_by_now(
    server: RedisServer, hive_name: str, other: subprocess.Popen[bytes]
) -> None:
    other.send_signal(signal.SIGSTOP)
    async with past_its_lease(server.url, hive_name, identity_of(other)) as (registry, guard, _):
        with pytest.raises(InstanceHeld) as held:
            await registry.register("batman.0", about(ProcessIdentity.current()), Stats())
        await registry.register("batman.0", about(ProcessIdentity.current()), Stats(), held.value)
        guard._next = 0.0  # it is time to read all of it
        await guard._look()
        assert not guard.watchdog.is_calm
