"""A Redis whose disk is full, really: what it takes goes on, what it does not waits, and nobody is restarted for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .bus_kit import are_up, flows, is_in_order, pair
from .conftest import MakeServer
from .disk_kit import small_disk
from .hive_kit import hive_in
from .redis_troubles import Store, disk_full, redis_ends
from .test_appender import numbers
from .test_hive_outages import goes_through
from .waiting import eventually_async

pytestmark = pytest.mark.root_only


@pytest.mark.every_server
async def test_live_messages_flow_and_durable_ones_wait_until_there_is_room(
    make_server: MakeServer, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        server = make_server(lines=(f"dir {disk.folder}", "appendfsync everysec"))
        async with pair(f"{server.url}?hive=t") as (alfred, bruce, got):
            alfred.keep("orders")
            disk.fill()
            sent = 0
            while "MISCONF" not in alfred.outage.text:
                alfred.send("orders", sent := sent + 1)
                await flows(alfred, got, within=5.0)
            assert alfred.outage.text.startswith("Redis refuses what it is asked for: MISCONF")
            assert (alfred.outbox.link.gaps, bruce.live.link.gaps) == (0, 0)
            disk.clear()
            await alfred.flush(20.0)
            await eventually_async(lambda: alfred.outage.since is None)
            assert await numbers(server.url, "orders") == list(range(1, sent + 1))
            assert is_in_order(got)
        server.close()


async def test_a_redis_that_ends_because_it_writes_always_is_waited_for_and_has_what_it_confirmed(
    make_server: MakeServer, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        server = make_server(lines=(f"dir {disk.folder}", "appendfsync always"))
        async with pair(f"{server.url}?hive=t") as (alfred, bruce, got):
            alfred.keep("orders")
            alfred.send("orders", 1)
            await alfred.flush(10.0)
            disk.fill()
            for number in range(2, 1001):  # a part of a page may be free
                alfred.send("orders", number)
            assert server.process is not None
            assert await asyncio.to_thread(server.process.wait, 20) != 0
            disk.clear()
            await asyncio.to_thread(server.restart, keep_data=True)
            await are_up(alfred, bruce)
            await alfred.flush(20.0)
            assert await numbers(server.url, "orders") == list(range(1, 1001))
            await flows(alfred, got, within=10.0)
        server.close()


@pytest.mark.drill
@pytest.mark.timeout(240)
@pytest.mark.parametrize("confirm", ["second", "disk"])
def test_nobody_in_a_hive_is_restarted_for_the_full_disk_of_its_redis(tmp_path: Path, confirm: str) -> None:
    more = f"CONFIRM = {confirm!r}"
    with hive_in(tmp_path / "gotham", more=more) as hive, small_disk(hive.folder / "var/redis") as disk:
        store = Store(hive)
        store.open()
        goes_through(store, (disk_full(disk) if confirm == "second" else redis_ends(disk),))
        hive.end()
