"""`hm lag` and `hm topics -v`: how far groups are behind, on a real server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Reader, Streams
from hivemind.data.backlog import COUNTED, backlogs
from hivemind.data.entries import Reading
from hivemind.data.kept import Kept
from hivemind.topics import Names

from .cli_kit import Place
from .servers import RedisServer

SHOP = """
from hivemind import Node, subscription
class Shop(Node):
    @subscription("orders.*", durable=True, since="all")
    def pack(self, payload):
        print("packed", flush=True)
"""


class Store:
    """Kept topics that are filled and read by hand."""

    def __init__(self, commands: Commands, names: Names) -> None:
        self.commands, self.names = commands, names
        self.streams = Streams(commands, Functions(commands), names)
        self.kept = Kept(self.streams)

    async def fill(self, topic: str, count: int, ago: float = 0.0) -> None:
        """Append messages as if they had been sent so many seconds ago."""
        await self.kept.announce(topic)
        first = int((time.time() - ago) * 1000)
        adds = [("XADD", self.names.stream(topic), f"{first}-{at + 1}", "b", "{}") for at in range(count)]
        await self.commands.pipeline(adds)

    async def read(self, topic: str, group: str, count: int, acknowledged: int, instance: str = "shop.0") -> None:
        reader = Reader(group, instance, 7)
        words = ("XREADGROUP", "GROUP", group, reader.consumer, "COUNT", count, "STREAMS", self.names.stream(topic))
        reply = await self.commands.execute(*words, ">")
        entries = [entry for entry, _ in reply[0][1]]
        if acknowledged:
            await self.streams.acknowledge(topic, reader, entries[:acknowledged])


@pytest.fixture
async def store(server: RedisServer, hive_name: str) -> AsyncIterator[Store]:
    async with Commands(Endpoint.parse(server.url)) as commands:
        yield Store(commands, Names(hive_name))


async def lag(here: Place, *arguments: str) -> list[dict[str, Any]]:
    done = await asyncio.to_thread(here.run, "lag", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.every_server
async def test_each_group_has_its_lag_what_is_pending_and_how_old_that_is(here: Place, store: Store) -> None:
    await store.fill("orders.new", 10, ago=90)
    for group in ("shop", "books"):
        await store.streams.join("orders.new", group, "0")
    await store.read("orders.new", "shop", 5, 2)
    await store.read("orders.new", "books", 10, 10)
    shop, books = await lag(here)
    assert (shop["group"], shop["lag"], shop["pending"], shop["consumers"]) == ("shop", 5, 3, [])
    assert 90 <= shop["oldest_pending"] <= shop["oldest"] < 150
    assert (books["lag"], books["pending"], books["oldest"]) == (0, 0, None)


async def test_the_worst_comes_first_and_a_pattern_chooses(here: Place, store: Store) -> None:
    for topic, count, ago in (("orders.new", 9, 10), ("orders.old", 1, 500), ("orders.none", 0, 0), ("lamp", 1, 1)):
        await store.fill(topic, count, ago)
        await store.streams.join(topic, "shop", "0")
    assert [one["topic"] for one in await lag(here)] == ["orders.old", "orders.new", "lamp", "orders.none"]
    assert [one["topic"] for one in await lag(here, "*.n*")] == ["orders.new", "orders.none"]
    table = (await asyncio.to_thread(here.run, "lag")).stdout
    assert table.split()[:6] == ["TOPIC", "GROUP", "LAG", "PENDING", "OLDEST", "READERS"]
    assert "nobody" in table


async def test_a_group_that_has_retired_is_marked(here: Place, store: Store) -> None:
    await store.fill("orders.new", 3)
    for group, seen in (("shop", 1), ("books", await store.kept.now())):
        await store.streams.join("orders.new", group, "0")
        entry = Reading(group, "orders.*", "all", 1, group, seen).entry()
        await store.commands.execute("HSET", store.names.readings(), f"{group} orders.*", entry)
    assert {one["group"]: one["retired"] for one in await lag(here)} == {"shop": True, "books": False}
    lines = (await asyncio.to_thread(here.run, "lag")).stdout.splitlines()
    assert {line.split()[1]: line.endswith("nobody: retired") for line in lines[1:]} == {"shop": True, "books": False}


async def test_however_many_groups_a_topic_has_all_readings_are_looked_at_once_for_it(store: Store) -> None:
    class Readings(list[Reading]):
        looks = 0

        def __iter__(self) -> Iterator[Reading]:
            Readings.looks += 1
            return super().__iter__()

    await store.fill("orders.new", 1)
    groups = [f"group{at}" for at in range(50)]
    for group in groups:
        await store.streams.join("orders.new", group, "0")
    readings = Readings(Reading(group, "*", "all", 1, group, 1) for group in groups)
    (found,) = await backlogs(store.commands, store.names, await store.kept.topics(), readings, {})
    assert [one.is_retired for one in found.groups] == [True] * 50
    assert Readings.looks == 1


@pytest.mark.every_server
async def test_where_redis_does_not_know_the_lag_it_is_counted(here: Place, store: Store) -> None:
    for topic, count in (("few", 30), ("many", COUNTED + 30)):
        await store.fill(topic, count)
        found = await store.commands.execute("XRANGE", store.names.stream(topic), "-", "+", "COUNT", 20)
        await store.streams.join(topic, "shop", found[-1][0].decode())
    counted = {one["topic"]: (one["lag"], one["is_more"]) for one in await lag(here)}
    assert counted == {"few": (10, False), "many": (COUNTED, True)}


async def test_readers_are_those_that_live(here: Place, store: Store) -> None:
    await store.fill("orders.new", 1)
    await store.streams.join("orders.new", "shop", "0")
    await store.read("orders.new", "shop", 1, 0, "shop.9")
    here.write("shop.py", SHOP)
    running = here.hm("run", "shop.py")
    await asyncio.to_thread(running.says, "running")
    await store.fill("orders.more", 1)
    await asyncio.to_thread(running.says, "packed")
    assert [(one["topic"], one["consumers"]) for one in await lag(here, "*.more")] == [("orders.more", ["shop.0"])]


async def test_watch_looks_again_until_ctrl_c(here: Place, store: Store) -> None:
    await store.fill("orders.new", 1)
    await store.streams.join("orders.new", "shop", "0")
    watching = here.hm("lag", "--watch", "--json")
    await asyncio.to_thread(watching.says, '"lag":1')
    await store.fill("orders.new", 1)
    await asyncio.to_thread(watching.says, '"lag":2')
    assert await asyncio.to_thread(watching.end) == 0


async def test_topics_tells_what_is_kept_with_its_groups(here: Place, store: Store) -> None:
    await store.fill("orders.new", 10)
    await store.kept.announce("lamp", durable=False, keep="10m")
    await store.streams.join("orders.new", "shop", "0")
    await store.read("orders.new", "shop", 4, 1)
    done = await asyncio.to_thread(here.run, "topics", "-v", "--json")
    assert [one["topic"] for one in json.loads(done.stdout)["topics"]] == ["lamp", "orders.new"]  # also without a node
    lamp, orders = json.loads(done.stdout)["kept"]
    assert (lamp["topic"], lamp["durable"], lamp["keep"], lamp["groups"]) == ("lamp", False, "10m", [])
    assert (orders["length"], orders["bytes"] > 100, orders["dead_letters"]) == (10, True, 0)
    (group,) = orders["groups"]
    assert (group["group"], group["lag"], group["pending"]) == ("shop", 6, 3)
    table = (await asyncio.to_thread(here.run, "topics", "-v")).stdout
    assert "KEPT TOPIC" in table
    assert "keep 10m" in table
    assert "(kept)" in table
    document = json.loads((await asyncio.to_thread(here.run, "docs")).stdout)
    assert list(document["channels"]) == ["lamp", "orders.new"]


async def test_what_strangers_put_in_the_place_of_a_stream_does_no_harm(here: Place, store: Store) -> None:
    await store.fill("orders.new", 1)
    await store.fill("odd", 1)
    await store.streams.join("orders.new", "shop", "0")
    await store.commands.execute("SET", store.names.stream("odd"), "x")
    await store.commands.execute("XGROUP", "CREATE", store.names.stream("orders.new"), "\x1b[31m", "0")
    assert len(await lag(here)) == 2
    done = await asyncio.to_thread(here.run, "topics", "-v")
    assert (done.returncode, "\x1b" in done.stdout) == (0, False)
