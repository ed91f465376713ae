"""A Redis all of whose connections are taken, on every server."""

from __future__ import annotations

import re

import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.outage import FULL
from hivemind.errors import RedisUnavailable

from .bus_kit import flows, on_bus, pair
from .servers import Connection, RedisServer
from .waiting import eventually_async

pytestmark = pytest.mark.every_server


async def test_those_who_are_connected_notice_nothing_and_newcomers_get_in_when_there_is_room(
    own_server: RedisServer,
) -> None:
    async with pair(own_server.url) as (alfred, bruce, got):
        with Connection(own_server.socket) as door:
            door.ask("CONFIG", "SET", "maxclients", fact(door, "clients", "connected_clients"))
            async with on_bus(own_server.url, "robin.0", up=False) as robin:
                said = f"Redis takes no more connections: {own_server.url}: {FULL}, since "
                await eventually_async(lambda: robin.outage.text.startswith(said), 15.0)
                assert fact(door, "stats", "rejected_connections") > 0
                await flows(alfred, got, within=5.0)
                robin.send("x", "from a newcomer")
                door.ask("CONFIG", "SET", "maxclients", 1000)
                await eventually_async(lambda: "from a newcomer" in got.payloads, 15.0)
        assert (alfred.outbox.link.gaps, bruce.live.link.gaps) == (0, 0)


async def test_who_asks_for_one_thing_is_told_what_to_do(own_server: RedisServer) -> None:
    with Connection(own_server.socket) as door:
        door.ask("CONFIG", "SET", "maxclients", 1)
        async with Commands(Endpoint.parse(own_server.url)) as commands:
            with pytest.raises(RedisUnavailable, match="raise maxclients in its configuration"):
                await commands.execute("PING")


def fact(door: Connection, section: str, name: str) -> int:
    found = re.search(rf"{name}:(\d+)", door.ask("INFO", section))
    assert found
    return int(found.group(1))
