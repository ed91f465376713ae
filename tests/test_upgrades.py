"""Two versions in one hive, and what another version has written in a way that this one does not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind import connect
from hivemind.bus.commands import Commands
from hivemind.bus.embedded import Embedded
from hivemind.data.layout import LAYOUT, STEPS, check_layout, migrate, stored_layout, way
from hivemind.data.restore import look
from hivemind.errors import ConfigurationError, LayoutMismatch, RedisUnavailable
from hivemind.supervisor.layout import bring_up_to_date
from hivemind.topics import Names

from .bus_kit import on_bus
from .hive_kit import Hive
from .node_kit import Workshop, workshop
from .servers import Connection, RedisServer
from .test_registry import STATS, about, registry_of
from .waiting import eventually

pytestmark = pytest.mark.timeout(90)

NEWER = "was written by a newer Hivemind (layout 2, here 1): upgrade here"


@pytest.fixture
def shop(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, server, hive_name) as made:
        yield made


# -- two versions

NEXT = """
# Runs a node as a version to come would: its functions have another name, and all that it writes has one thing more.
import sys
import orjson
from hivemind.bus import functions
from hivemind.bus.bus import Bus
from hivemind.data import registry
from hivemind.node.__main__ import main

MORE = {"of-a-newer-version": {"n": [1]}}
functions.SHARED += "\\n-- of a newer version"
functions.LIBRARY = "hm_00000002"
json, notify = registry._json, Bus.notify
registry._json = lambda record: orjson.dumps({**orjson.loads(json(record)), **MORE})
Bus.notify = lambda self, kind, notice: notify(self, kind, {**notice, **MORE})
sys.exit(main(sys.argv[1:]))
"""
SELLER = """
    from hivemind import Node, service

    class Seller(Node):
        @service("order", durable=True, every=0.1)
        def sell(self, service):
            service.send("durable")

        @service("offer", every=0.1)
        def offer(self, service):
            service.send("live")

        @service("asking", every=0.1)
        def ask(self, service):
            print("asked", self.request("price", 7, timeout=5.0), flush=True)
"""
BUYER = """
    from hivemind import Node, responder, subscription

    class Buyer(Node):
        @subscription("order", durable=True)
        def buy(self, payload):
            print("bought", payload, flush=True)

        @subscription("off*")
        def look(self, payload):
            print("looked at", payload, flush=True)

        @responder("price")
        def tell(self, payload):
            return payload * 2
"""


@pytest.mark.parametrize("newer", ["seller", "buyer"])
def test_two_versions_work_in_one_hive_both_ways(shop: Workshop, server: RedisServer, newer: str) -> None:
    shop.write("seller.py", SELLER)
    shop.write("buyer.py", BUYER)
    shop.write("next.py", NEXT)
    needs = '{"seller": {"needs": ["buyer", "topic:price"]}}'
    nodes = {
        name: (shop.python if name == newer else shop.run)(
            *["next.py"] * (name == newer), f"{name}.py", HIVEMIND_NODES=needs
        )
        for name in ("seller", "buyer")
    }
    for said in ("bought durable", "looked at live"):
        nodes["buyer"].says(said, within=30, times=3)
    nodes["seller"].says("asked 14", within=30, times=3)
    libraries = server.command("FUNCTION", "LIST")
    assert sum("hm_00000002" in each for each in libraries) == 1
    assert not any("Traceback" in node.output for node in nodes.values())


# -- the layout


async def test_who_registers_first_writes_the_layout(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "batman.0", hive_name) as bus:
        assert await stored_layout(bus.commands, bus.names) is None
        await registry_of(bus).register("batman.0", about(), STATS)
        assert await stored_layout(bus.commands, bus.names) == LAYOUT


async def test_a_hive_that_does_not_say_has_the_first_layout(server: RedisServer, hive_name: str) -> None:
    names = Names(hive_name)
    server.command("SET", names.patterns(), "server")
    async with on_bus(server.url, "batman.0", hive_name) as bus:
        assert await stored_layout(bus.commands, bus.names) == 1
        server.command("HSET", names.layout(), "garbage", "1")
        assert await stored_layout(bus.commands, bus.names) == 1


def test_a_node_a_client_and_a_command_refuse_what_a_newer_version_wrote_and_touch_nothing(
    shop: Workshop, server: RedisServer, hive_name: str
) -> None:
    names = Names(hive_name)
    server.command("SET", names.layout(), "2")
    shop.write("batman.py", "from hivemind import Node\nclass Batman(Node):\n    pass\n")
    node, command = shop.run("batman.py"), shop.python("-m", "hivemind.cli.hm", "nodes")
    assert (node.ends(30), command.ends(30)) == (1, 1)
    assert f"{hive_name} {NEWER}" in node.output
    assert f"error: {hive_name} {NEWER}" in command.output
    with pytest.raises(LayoutMismatch, match="upgrade here"), connect(f"{server.url}?hive={hive_name}"):
        pass
    assert server.command("KEYS", f"hm:*{hive_name}*") == [names.layout()]


def test_hived_start_refuses_what_a_newer_version_wrote(gotham: Hive, server: RedisServer, hive_name: str) -> None:
    gotham.configure(f"REDIS_URL = {server.url!r}\nHIVE_NAME = {hive_name!r}")
    server.command("SET", Names(hive_name).layout(), "2")
    done = gotham.run("hived", "start")
    assert done.returncode == 1
    assert f"error: {hive_name} {NEWER}" in done.stderr
    assert not gotham.processes()


async def test_a_node_that_lives_stops_when_a_newer_version_has_the_hive(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "batman.0", hive_name) as bus:
        book = registry_of(bus)
        incarnation = await book.register("batman.0", about(), STATS)
        server.command("DEL", bus.names.node("batman.0"))
        server.command("SET", bus.names.layout(), "2")
        with pytest.raises(LayoutMismatch):
            await book.register_again("batman.0", incarnation, about(), STATS)


# -- migrating


async def to_two(commands: Commands, names: Names) -> None:
    """An invented step: it gives a key another name."""
    await commands.execute("RENAME", names.patterns(), f"{names.patterns()}-2")


async def to_three(commands: Commands, names: Names) -> None:
    await commands.execute("SET", f"{names.patterns()}-3", "new")


def test_the_way_is_every_step_between_and_none_may_be_missing() -> None:
    assert way("gotham", 1, 3, {1: to_two, 2: to_three}) == {1: to_two, 2: to_three}
    assert way("gotham", 2, 3, {1: to_two, 2: to_three}) == {2: to_three}
    assert way("gotham", 3, 3, {}) == {}
    for stored, here in ((1, 3), (4, 3)):
        with pytest.raises(LayoutMismatch):
            way("gotham", stored, here, {2: to_three})


def test_there_is_a_step_from_every_layout_that_there_was() -> None:
    assert sorted(STEPS) == list(range(1, LAYOUT))


class Backups:
    """Counts backups, and keeps what was there when one was made."""

    def __init__(self, server: RedisServer, names: Names) -> None:
        self.server, self.names, self.made = server, names, list[int]()

    async def __call__(self) -> None:
        self.made.append(self.server.command("EXISTS", self.names.patterns()))


async def test_an_older_layout_is_migrated_after_a_backup_while_nobody_lives(
    server: RedisServer, hive_name: str
) -> None:
    names, steps = Names(hive_name), {1: to_two, 2: to_three}
    backup = Backups(server, names)
    async with on_bus(server.url, "batman.0", hive_name) as bus:
        book = registry_of(bus)
        incarnation = await book.register("batman.0", about(), STATS)
        with pytest.raises(ConfigurationError, match="stop the hive on every host"):
            await migrate(bus.commands, names, backup, 3, steps)
        await book.deregister("batman.0", incarnation)
        with pytest.raises(LayoutMismatch, match="an older Hivemind"):
            await migrate(bus.commands, names, None, 3, steps)
        assert await migrate(bus.commands, names, backup, 3, steps) == [2, 3]
        assert (backup.made, server.command("GET", f"{names.patterns()}-2")) == ([1], "server")
        await check_layout(bus.commands, names, 3)
        assert await migrate(bus.commands, names, backup, 3, steps) == []
        assert backup.made == [1]


async def test_a_migration_that_was_interrupted_goes_on_where_it_was(server: RedisServer, hive_name: str) -> None:
    names, tries = Names(hive_name), list[int]()
    server.command("SET", names.patterns(), "server")

    async def fails_once(commands: Commands, names: Names) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RedisUnavailable("it went away")
        await to_three(commands, names)

    async with on_bus(server.url, "hm", hive_name) as bus:
        backup, steps = Backups(server, names), {1: to_two, 2: fails_once}
        with pytest.raises(RedisUnavailable):
            await migrate(bus.commands, names, backup, 3, steps)
        assert await stored_layout(bus.commands, names) == 2
        assert await migrate(bus.commands, names, backup, 3, steps) == [3]
        assert server.command("GET", f"{names.patterns()}-3") == "new"


async def test_nothing_is_migrated_where_there_is_no_hive(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, "hm", hive_name) as bus:
        assert await migrate(bus.commands, bus.names, None, 3, {1: to_two, 2: to_three}) == []


def test_what_registers_does_not_take_garbage_for_a_layout(shop: Workshop, server: RedisServer, hive_name: str) -> None:
    server.command("HSET", Names(hive_name).layout(), "garbage", "1")
    shop.write("batman.py", "from hivemind import Node\nclass Batman(Node):\n    pass\n")
    shop.run("batman.py").says("running")
    eventually(lambda: server.command("GET", Names(hive_name).layout()) == "1")


def test_hived_start_stops_again_when_its_own_redis_was_written_by_a_newer_version(gotham: Hive) -> None:
    server = Embedded.of(gotham.engine.settings)
    server.ensure()
    with Connection(server.socket) as look:
        look.ask("SET", Names("gotham").layout(), "2")
    server.stop()
    done = gotham.run("hived", "start", timeout=90)
    assert done.returncode == 1
    assert f"error: gotham {NEWER}" in done.stderr
    assert not gotham.processes()


def test_hived_writes_a_backup_before_it_migrates(gotham: Hive, server: RedisServer, hive_name: str) -> None:
    gotham.configure(f"REDIS_URL = {server.url!r}\nHIVE_NAME = {hive_name!r}")
    gotham.engine.paths.make()
    names = Names(hive_name)
    server.command("SET", names.patterns(), "server")
    bring_up_to_date(gotham.engine, 2, {1: to_two})
    (copy,) = gotham.engine.paths.var.glob("before-layout-2-*.backup")
    assert (look(copy)[0].hive, look(copy)[1].keys) == (hive_name, 1)
    assert server.command("MGET", names.layout(), f"{names.patterns()}-2") == ["2", "server"]
