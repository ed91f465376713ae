"""The watchdog's hands on a real registry: whom they watch over."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hivemind.data.records import About, Stats
from hivemind.identity import ProcessIdentity
from hivemind.supervisor.guard import Guard
from hivemind.supervisor.plan import Plan
from hivemind.supervisor.running import Running

from .bus_kit import on_bus
from .servers import RedisServer
from .test_registry import registry_of

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


@pytest.mark.every_server
async def test_who_hangs_for_longer_than_its_lease_is_watched_though_the_registry_is_read_again(
    server: RedisServer, hive_name: str
) -> None:
    me = ProcessIdentity.current()
    engine = SimpleNamespace(
        settings=SimpleNamespace(constants=SimpleNamespace(LEASE=LEASE)),
        paths=SimpleNamespace(stopping=SimpleNamespace(exists=lambda: True)),  # so that nobody is killed
    )
    async with on_bus(server.url, "hived", hive_name) as bus:
        registry = registry_of(bus)
        await registry.register("batman.0", About("batman", me.host, me.pid, time.time(), LEASE, me), Stats())
        guard = Guard(cast(Any, engine), registry, bus, cast(Running, Runs(batman_0=me)))
        await guard._look()
        assert guard.watchdog.is_calm
        for _ in range(3):
            await asyncio.sleep(LEASE)
            guard._next = 0.0  # it is time to read all of it
            await guard._look()
            assert not guard.watchdog.is_calm, "who was registered, and runs, is late"
