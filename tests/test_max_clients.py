"""A Redis all of whose connections are taken, on every server."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.outage import FULL
from hivemind.bus.turned_away import is_crowded
from hivemind.errors import RedisUnavailable
from hivemind.node.runner import new_loop

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


def test_a_crowd_at_a_unix_socket_is_not_taken_for_a_server_that_is_away(tmp_path: Path) -> None:
    async def failure() -> RedisUnavailable:
        with pytest.raises(RedisUnavailable) as caught:
            await Endpoint.parse(f"unix://{tmp_path}/s").open("one more")
        return caught.value

    with socket.socket(socket.AF_UNIX) as door, asyncio.Runner(loop_factory=new_loop) as runner:
        door.bind(f"{tmp_path}/s")
        assert not is_crowded(runner.run(failure()))
        door.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(f"{tmp_path}/s")
            assert is_crowded(runner.run(failure()))
