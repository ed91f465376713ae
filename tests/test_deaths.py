"""hived tells at once whose process has ended, and what it held is handled by others long before its lease is over."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import pytest

from hivemind import connect
from hivemind.bus.bus import Bus
from hivemind.bus.streams import Reader
from hivemind.data.heirs import ENDED, Heirs
from hivemind.data.records import About, ResponderRecord, Stats
from hivemind.data.registry import Registry
from hivemind.data.responders import Responders
from hivemind.errors import NoResponders, RequestLost
from hivemind.identity import ProcessIdentity
from hivemind.supervisor.deaths import Deaths

from .bus_kit import on_bus
from .hive_kit import Hive
from .servers import RedisServer
from .waiting import eventually, eventually_async

LONG = 600.0  #: seconds of a lease that no test waits for


@dataclass
class Ward:
    """A registry, and who watches over this machine's part of it."""

    bus: Bus
    deaths: Deaths
    registry: Registry
    told: list[str] = field(default_factory=list)

    def hear(self, body: bytes) -> None:
        self.told.append(orjson.loads(body)["instance"])

    async def register(
        self, instance: str, process: subprocess.Popen[bytes], incarnation: int = 0, *answers: str
    ) -> int:
        me = ProcessIdentity.of(process.pid)
        assert me is not None
        about = About(instance.partition(".")[0], me.host, me.pid, time.time(), LONG, me)
        stats = Stats(responders=tuple(ResponderRecord(name, "handler") for name in answers))
        if incarnation:
            await self.registry.register_again(instance, incarnation, about, stats)
            return incarnation
        return await self.registry.register(instance, about, stats)

    async def ended(self, instance: str, incarnation: int) -> bool:
        """Whether the readers of a group take that life for ended."""
        heirs = Heirs(self.bus.commands, self.bus.names, LONG)
        other = Reader("shop", instance, incarnation)
        return await heirs.ended(Reader("shop", "shop.9", 1), [other]) == [other]


@asynccontextmanager
async def ward(server: RedisServer, hive: str) -> AsyncIterator[Ward]:
    async with on_bus(server.url, "hived", hive) as bus:
        registry = Registry(bus.commands, bus.functions, bus.names)
        made = Ward(bus, Deaths(bus, registry), registry)
        bus.live.listen(bus.names.control(ENDED), made.hear)
        await bus.live.confirmed()
        yield made
        made.deaths.close()


@pytest.fixture
def processes() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


Start = Callable[[], subprocess.Popen[bytes]]


async def test_whose_process_is_killed_is_told_to_all_groups_at_once(
    server: RedisServer, hive_name: str, processes: Start
) -> None:
    async with ward(server, hive_name) as found:
        dies, lives = processes(), processes()
        ended = await found.register("shop.0", dies)
        other = await found.register("shop.1", lives)
        found.deaths.watch(await found.registry.instances())
        dies.kill()
        await eventually_async(lambda: found.told == ["shop.0"])
        assert await found.ended("shop.0", ended)
        assert not await found.ended("shop.0", ended + 1)
        assert not await found.ended("shop.1", other)


async def test_a_death_is_told_once_however_long_the_registry_has_the_dead(
    server: RedisServer, hive_name: str, processes: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hived")
    async with ward(server, hive_name) as found:
        dies = processes()
        ended = await found.register("shop.0", dies)
        dies.kill()
        dies.wait()
        for _ in range(3):
            found.deaths.watch(await found.registry.instances())
            await eventually_async(lambda: found.told)
        await found.register("shop.0", processes(), ended + 1)
        found.deaths.watch(await found.registry.instances())
        assert found.deaths.watched == {"shop.0"}
    assert caplog.text.count("has ended without a goodbye") == 1


async def test_who_answered_requests_and_is_killed_is_struck_from_their_lists(
    server: RedisServer, hive_name: str, processes: Start
) -> None:
    async with ward(server, hive_name) as found:
        dies, ask, names = processes(), found.bus.commands.execute, found.bus.names
        ended = await found.register("shop.0", dies, 0, "sum", "no name", "other")
        await ask("ZADD", names.responders("sum"), 1, f"shop.0.e{ended}", 2, "shop.1.e5")
        await ask("SET", names.responders("other"), "nonsense")
        responders = Responders(found.bus.commands, found.bus.functions, names)
        assert await responders.ended([f"shop.0.e{ended}"]) == set()
        found.deaths.watch(await found.registry.instances())
        dies.kill()
        await eventually_async(lambda: found.told == ["shop.0"])
        assert await ask("ZRANGE", names.responders("sum"), 0, -1) == [b"shop.1.e5"]
        await ask("HSET", names.node("shop.0"), "about", "{}")  # as if it had run on another machine
        assert await responders.ended([f"shop.0.e{ended}", f"shop.0.e{ended + 1}"]) == {f"shop.0.e{ended}"}


async def test_of_a_process_that_lives_nothing_is_told_whatever_supervisord_says(
    server: RedisServer, hive_name: str, processes: Start
) -> None:
    async with ward(server, hive_name) as found:
        incarnation = await found.register("shop.0", processes())
        found.deaths.watch(await found.registry.instances())
        found.deaths.look("shop.0")
        dies = processes()
        await found.register("shop.1", dies)
        found.deaths.watch(await found.registry.instances())
        dies.kill()
        await eventually_async(lambda: found.told == ["shop.1"])
        assert not await found.ended("shop.0", incarnation)


async def test_a_successor_that_is_there_already_is_not_taken_for_the_dead(
    server: RedisServer, hive_name: str, processes: Start
) -> None:
    async with ward(server, hive_name) as found:
        dies = processes()
        old = await found.register("shop.0", dies)
        found.deaths.watch(await found.registry.instances())
        await found.register("shop.0", processes(), old + 5)
        dies.kill()
        await eventually_async(lambda: found.told == ["shop.0"])
        assert await found.ended("shop.0", old)
        assert not await found.ended("shop.0", old + 5)


async def test_who_reads_by_a_newer_incarnation_than_its_lifes_dies_with_that_life_and_no_other_does(
    server: RedisServer, hive_name: str, processes: Start
) -> None:
    async with ward(server, hive_name) as found:
        dies = processes()
        old = await found.register("shop.0", dies)
        found.deaths.watch(await found.registry.instances())
        heirs = Heirs(found.bus.commands, found.bus.names, LONG)
        await heirs.renamed(Reader("shop", "shop.0", old + 5), old)
        assert not await found.ended("shop.0", old + 5)
        dies.kill()
        await eventually_async(lambda: found.told == ["shop.0"])
        assert await found.ended("shop.0", old + 5)
        assert not await found.ended("shop.0", old + 6)
        await heirs.renamed(Reader("shop", "shop.0", old + 9), old + 8)  # the next life, which came to that as well
        assert not await found.ended("shop.0", old + 9)
        await found.bus.commands.execute("HSET", found.bus.names.readers(), "shop life shop.0", b"\xff nonsense")
        assert not await found.ended("shop.0", old + 9)


async def test_a_process_of_another_machine_is_nobody_of_ours(
    server: RedisServer, hive_name: str, processes: Start
) -> None:
    async with ward(server, hive_name) as found:
        gone = ProcessIdentity(1, 1.0, "another boot", "elsewhere")
        about = About("shop", "elsewhere", 1, time.time(), LONG, gone)
        incarnation = await found.registry.register("shop.0", about, Stats())
        dies = processes()
        await found.register("shop.1", dies)
        found.deaths.watch(await found.registry.instances())
        dies.kill()
        await eventually_async(lambda: found.told == ["shop.1"])
        assert not await found.ended("shop.0", incarnation)


async def test_who_joins_is_watched_before_the_next_look(server: RedisServer, hive_name: str, processes: Start) -> None:
    async with ward(server, hive_name) as found:
        dies = processes()
        await found.register("shop.0", dies)
        found.bus.notify("node", {"event": "joined", "instance": "shop.0"})
        found.bus.notify("node", {"event": 5})
        await eventually_async(lambda: "shop.0" in found.deaths.watched)
        dies.kill()
        await eventually_async(lambda: found.told == ["shop.0"])


async def test_whose_joining_nobody_here_has_heard_is_looked_up_as_soon_as_it_ends(
    server: RedisServer, hive_name: str, processes: Start
) -> None:
    async with ward(server, hive_name) as found:
        dies = processes()
        incarnation = await found.register("shop.0", dies)
        dies.kill()
        dies.wait()
        found.deaths.look("shop.0")
        await eventually_async(lambda: found.told == ["shop.0"])
        assert await found.ended("shop.0", incarnation)


async def test_the_news_waits_for_a_redis_that_is_away(
    own_server: RedisServer, hive_name: str, processes: Start
) -> None:
    async with ward(own_server, hive_name) as found:
        dies = processes()
        incarnation = await found.register("shop.0", dies)
        found.deaths.watch(await found.registry.instances())
        await asyncio.to_thread(own_server.freeze)
        dies.kill()
        await eventually_async(lambda: not found.deaths.watched)
        await asyncio.to_thread(own_server.thaw)
        await eventually_async(lambda: bool(found.told))
        assert await found.ended("shop.0", incarnation)


HOLDS = """
import asyncio, pathlib, time
from hivemind import Node, subscription

class {name}(Node):
    @subscription("orders", durable=True, since="all")
    async def pack(self, payload):
        held = pathlib.Path("held")
        if not held.exists():
            held.write_text(self.instance)
            await asyncio.sleep(600)
        pathlib.Path("packed").write_text(f"{self.instance} {time.time()}")
"""
SELLS = """
from hivemind import Node, service

class {name}(Node):
    @service("orders", durable=True)
    def sell(self, service):
        service.send("a bottle")
        service.flush()
        return 1
"""


@pytest.mark.timeout(90)
def test_what_a_killed_node_held_is_handled_by_its_copy_within_seconds_of_a_lease_of_minutes(gotham: Hive) -> None:
    gotham.configure('LEASE = 600.0\nNODES = {"shop": {"replicas": 2, "restart": "never"}}')
    gotham.node("shop", HOLDS)
    gotham.node("seller", SELLS)
    gotham.start()
    held = gotham.folder / "held"
    holder = eventually(lambda: held.exists() and held.read_text(), within=30)
    assert holder
    other = {"shop.0": "shop.1", "shop.1": "shop.0"}[holder]
    eventually(lambda: f"{other} " in gotham.run("hm", "nodes").stdout, within=20)
    began = time.time()
    pid = gotham.program(holder).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    packed = gotham.folder / "packed"
    who, at = eventually(lambda: packed.read_text().split() if packed.exists() else [], within=20)
    print(f"taken over after {float(at) - began:.3f} s")
    assert (who, float(at) - began < 3.0) == (other, True)  # on a machine that has nothing else to do far below 1.5
    assert f"{holder} has ended without a goodbye" in gotham.log("hived")


ANSWERS = """
from hivemind import Node, responder

class {name}(Node):
    @responder("sum")
    def sum(self, numbers):
        return sum(numbers)
"""


@pytest.mark.timeout(90)
def test_that_the_only_responder_was_killed_is_known_at_once(gotham: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind.bus.asked.AWAY", 600.0)  # nobody waits for who is known to be dead
    gotham.configure('LEASE = 600.0\nNODES = {"adder": {"restart": "never"}}')
    gotham.node("adder", ANSWERS)
    gotham.start()
    eventually(lambda: "adder.0" in gotham.run("hm", "nodes").stdout, within=20)
    with connect(gotham.folder) as client:
        assert client.request("sum", [1, 2]) == 3
        pid = gotham.program("adder.0").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises((NoResponders, RequestLost)):  # the second if Redis still took it for connected
            client.request("sum", [1, 2], timeout=30.0)
