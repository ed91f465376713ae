"""The watchdog's hands on a real registry: whom they watch over."""

from __future__ import annotations

import asyncio
import signal
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hivemind.bus.bus import Bus
from hivemind.data.records import About, Stats
from hivemind.data.registry import Registry
from hivemind.identity import ProcessIdentity
from hivemind.supervisor.guard import Guard
from hivemind.supervisor.plan import Plan
from hivemind.supervisor.running import Running

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


def watching(bus: Bus) -> tuple[Registry, Guard]:
    """Who watches over this process as ``batman.0``, and kills nobody by itself."""
    engine = SimpleNamespace(
        settings=SimpleNamespace(constants=SimpleNamespace(LEASE=LEASE)),
        paths=SimpleNamespace(stopping=SimpleNamespace(exists=lambda: True)),
    )
    running = cast(Running, Runs(batman_0=ProcessIdentity.current()))
    registry = registry_of(bus)
    return registry, Guard(cast(Any, engine), registry, bus, running)


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


async def test_who_goes_on_while_it_was_to_write_its_stacks_is_left_alone(server: RedisServer, hive_name: str) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        async with on_bus(server.url, "hived", hive_name) as bus:
            registry, guard, me = *watching(bus), ProcessIdentity.current()
            life = await registry.register("batman.0", about(me), Stats())
            await guard._look()
            await asyncio.sleep(LEASE)
            ending = asyncio.create_task(guard._end("batman.0", me))
            await eventually_async(lambda: bool(heard))
            await registry.register_again("batman.0", life, about(me), Stats())
            while not ending.done():
                assert await registry.renew("batman.0", life, LEASE, Stats())
                await asyncio.sleep(LEASE / 6)
            await ending  # or none of us would see this line
    finally:
        signal.signal(signal.SIGUSR1, before)
