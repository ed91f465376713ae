"""What is said of durable delivery: who asks in vain, who waits, who is behind, who retired, what was given up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Streams
from hivemind.constants import Constants
from hivemind.data.backlog import GroupBacklog, TopicBacklog
from hivemind.data.durability import BEHIND, Durability, durability
from hivemind.data.entries import KeptTopic, Reading
from hivemind.data.mismatch import Unkept
from hivemind.data.registry import Registry
from hivemind.picture.durable import DurableView, Growth
from hivemind.picture.health import Level
from hivemind.picture.snapshot import Snapshot
from hivemind.picture.source import HiveSource
from hivemind.settings import Settings
from hivemind.topics import Names

from .bus_kit import on_bus
from .cli_kit import Place
from .root_kit import FakeSource, instance, running
from .servers import RedisServer
from .test_hm_lag import Store
from .waiting import eventually

NOW = 1_000_000_000
LIVE = """
from hivemind import Node, service
class Lamp(Node):
    @service("orders.lamp", every=0.1)
    def shine(self, service):
        service.send(1)
"""
READS = """
from hivemind import Node, subscription
class Shop(Node):
    @subscription("PATTERN", durable=True)
    def pack(self, payload):
        pass
"""


def reading(pattern: str = "orders.*", **more: int) -> Reading:
    return Reading("shop", pattern, "new", NOW - 5000, "shop", **more)


def topic(name: str = "orders.new", letters: int = 0, **group: Any) -> TopicBacklog:
    said = {"lag": 0, "pending": 0, "unread": None, "held": None, "readers": ("shop.0",), **group}
    state = GroupBacklog(name, "shop", **said)
    return TopicBacklog(KeptTopic(name, 1), 9, 900, letters, (state,))


def test_nothing_is_said_where_all_is_well() -> None:
    found = Durability((topic(lag=50, unread=BEHIND - 1, held=5000.0, pending=3),))
    assert (found.troubles(), found.notes()) == ([], [])


def test_who_asks_in_vain_is_trouble_with_both_sides_named() -> None:
    (said,) = Durability(unkept=(Unkept("orders.lamp", "lamp.0", reading()),)).troubles()
    for part in ("orders.lamp is not kept", "group shop", "orders.*", "lamp.0", "durable=True"):
        assert part in said


def test_who_waits_and_who_retired_is_a_remark() -> None:
    found = Durability(waiting=(reading(),), retired=(reading("old.*", seen=NOW - 7_200_000),), now=NOW)
    assert found.notes() == [
        "group shop waits for a kept topic that matches orders.*",
        "group shop has retired from old.*: shop was not seen for 2 h 0 min",
    ]


def test_who_is_behind_is_told_worst_first_unless_it_retired() -> None:
    found = Durability((topic(lag=7, unread=90.0), topic("orders.old", lag=1000, unread=9000.0, is_more=True)))
    assert found.notes() == [
        "group shop is more than 1,000 messages behind on orders.old, by 2 h 30 min",
        "group shop is 7 messages behind on orders.new, by 1 min 30 s",
    ]
    retired = Durability((topic(lag=7, unread=90.0, is_retired=True),), retired=(reading(),))
    assert [one for one in retired.notes() if "behind" in one] == []


def test_that_nobody_reads_is_told_with_what_waits() -> None:
    assert Durability((topic(lag=1, unread=90.0, readers=()),)).notes() == [
        "group shop is 1 message behind on orders.new, by 1 min 30 s, and nobody reads in it"
    ]


def test_dead_letters_are_counted_and_many_of_a_kind_are_not_listed() -> None:
    many = Durability(tuple(topic(f"t{at}", 2, lag=1, unread=100.0 + at) for at in range(9)))
    *_, more, letters = many.notes()
    assert more == "6 more groups are behind"
    assert letters == "18 dead letters on t0, t1, t2 and 6 more (`hm dead list`)"


@pytest.fixture
async def store(server: RedisServer, hive_name: str) -> AsyncIterator[Store]:
    async with Commands(Endpoint.parse(server.url)) as commands:
        yield Store(commands, Names(hive_name))


async def test_status_tells_what_is_sent_live_and_read_durably_and_who_waits(here: Place, store: Store) -> None:
    here.write("lamp.py", LIVE)
    here.write("shop.py", READS.replace("PATTERN", "orders.*"))
    here.write("books.py", READS.replace("PATTERN", "bills.*").replace("Shop", "Books"))
    for file in ("lamp.py", "shop.py", "books.py"):
        await asyncio.to_thread(here.hm("run", file).says, "running")
    done = await asyncio.to_thread(here.run, "status", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["well"]) == (1, False)
    (trouble,) = found["troubles"]
    assert trouble.startswith("orders.lamp is not kept, but group shop reads orders.* durably")
    assert found["notes"] == ["group books waits for a kept topic that matches bills.*"]


async def test_status_tells_who_is_behind_and_what_was_given_up(here: Place, store: Store) -> None:
    await store.fill("orders.new", 5, ago=3600)
    await store.streams.join("orders.new", "shop", "0")
    letter = orjson.dumps({"group": "shop", "message": "{}"})
    await store.commands.execute("XADD", store.names.letters("orders.new"), "*", "b", letter)
    said = (await asyncio.to_thread(here.run, "status")).stdout
    assert "group shop is 5 messages behind on orders.new, by 1 h 0 min, and nobody reads in it" in said
    assert "1 dead letter on orders.new (`hm dead list`)" in said


async def test_a_group_whose_node_left_is_retired_and_not_behind(store: Store) -> None:
    await store.fill("orders.new", 5, ago=3600)
    await store.kept.read("shop", "orders.*", "all")
    gone = int(time.time() - 3600) * 1000
    entry = reading(seen=gone).entry()
    await store.commands.execute("HSET", store.names.readings(), "shop orders.*", entry)
    found = await durability(Streams(store.commands, Functions(store.commands), store.names), [])
    assert [one.group for one in found.retired] == ["shop"]
    assert found.notes()[0].startswith("group shop has retired from orders.*: shop was not seen for ")
    assert found.behind == []
    json.dumps(found.to_json())


# -- on the page


def test_the_page_and_its_json_show_kept_topics_and_what_there_is_to_say() -> None:
    state = Durability((topic(lag=1200, unread=90.0, letters=2),), waiting=(reading("bills.*"),))
    source = FakeSource([instance("shop.0")], view=DurableView(state, {("orders.new", "shop"): 3.0}))
    with running(source) as page:
        eventually(lambda: page.monitor.snapshot.instances)
        html, said = page.get("/topics")[2], json.loads(page.get("/api/durable")[2])
        with page.events("/topics") as stream:
            (shown,) = stream.next()["lists"]["kept"]
    for text in ("orders.new", "1,200", "+3.0/s", "waits for a kept topic that matches bills.*", "2 dead letters"):
        assert text in html
    assert shown["lists"]["groups"][0]["fields"]["readers"] == "shop.0"
    assert said["topics"][0]["groups"][0]["growth"] == 3.0
    assert said["waiting"][0]["pattern"] == "bills.*"
    assert said["dead_letters"] == {"orders.new": 2}


def test_a_topic_that_is_not_kept_and_read_durably_is_trouble_on_the_page() -> None:
    state = Durability(unkept=(Unkept("orders.lamp", "lamp.0", reading()),))
    found = Snapshot("gotham", "redis://x", 100.0, durable=DurableView(state))
    assert found.health.level is Level.TROUBLE
    assert found.health.sentence.startswith("gotham is not well: orders.lamp is not kept, but group shop")


def test_names_among_what_is_kept_are_escaped() -> None:
    evil = "<svg onload=alert(1)>"
    group = GroupBacklog("orders.new", evil, 1, 0, None, None)
    state = Durability((TopicBacklog(KeptTopic("orders.new", 1), 1, 1, 0, (group,)),))
    with running(FakeSource([instance("shop.0")], view=DurableView(state))) as page:
        eventually(lambda: page.monitor.snapshot.instances)
        html = page.get("/topics")[2]
    assert "<svg onload" not in html
    assert "&lt;svg" in html


def lags(*lag: int, every: float = 4.0) -> float | None:
    """By how much a group falls behind that had these lags, look by look."""
    growth, found = Growth(), {}
    for at, one in enumerate(lag):
        group = GroupBacklog("orders.new", "shop", one, 0, 1.0, None)
        found = growth.follow(at * every, [group])
    return found.get(("orders.new", "shop"))


def test_a_lag_grows_if_it_does_so_all_the_time() -> None:
    assert lags(0, 100) is None  # too early to tell
    assert lags(*range(0, 1000, 40)) == 10.0
    assert lags(*[500] * 30) == 0.0
    assert lags(*[0, 900] * 10) == 0.0
    assert lags(*range(1000, 0, -40)) == 0.0


def test_that_a_lag_grows_is_a_remark_where_it_is_large() -> None:
    def notes(lag: int) -> list[str]:
        return DurableView(Durability((topic(lag=lag, unread=1.0),)), {("orders.new", "shop"): 2.5}).notes()

    assert notes(7) == []
    assert notes(700) == ["shop on orders.new (700 messages, +2.5/s) falls behind further and further"]


async def test_a_real_hive_is_on_the_page_with_what_it_keeps(store: Store, server: RedisServer, hive_name: str) -> None:
    await store.fill("orders.new", 3)
    await store.streams.join("orders.new", "shop", "0")
    async with on_bus(server.url, "root.0", hive_name) as bus:
        source = HiveSource(bus, Registry(bus.commands, bus.functions, bus.names), Settings(Constants(), {}, None))
        view = await source.durable(await source.instances())
        (kept,) = view.state.topics
        assert (kept.kept.topic, kept.length, kept.groups[0].lag) == ("orders.new", 3, 3)
        await store.fill("orders.old", 1)
        assert await source.durable([]) is view  # it does not ask for all streams at every beat
