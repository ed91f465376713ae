"""What ``flush`` waits for: that Redis has a message, that it is on its disk, that a replica has it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from hivemind import Node, service
from hivemind.bus.appender import BodySpool, DurableOutbox
from hivemind.bus.assurance import Proof, proof_of, shortfall
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Home
from hivemind.data.records import About, Instance
from hivemind.errors import Unconfirmed
from hivemind.message import encode_payload
from hivemind.picture.health import judge
from hivemind.picture.state import State
from hivemind.retention import Retention, Tier
from hivemind.testing import HiveTest
from hivemind.topics import Names

from .proxy import Mode, Proxy
from .servers import Kind, RedisServer, find_server, installed
from .test_appender import numbers
from .waiting import eventually, eventually_async

WITHOUT_WAITAOF = {Kind.REDIS7, Kind.VALKEY}  # Valkey has it, but it answers too early


@contextlib.asynccontextmanager
async def sending(url: str, tier: Tier) -> AsyncIterator[DurableOutbox]:
    """A sender whose topic "n" is confirmed at ``tier``, and "m" as soon as Redis has it."""
    endpoint, names = Endpoint.parse(url), Names("t")
    async with Commands(endpoint) as commands:
        outbox = DurableOutbox(Home(endpoint, "hm:a.0:keep", names, Functions(commands)), BodySpool(names))
        outbox.keep("n", Retention(), tier)
        outbox.spool.identify("a.0", 1)
        outbox.start()
        try:
            yield outbox
        finally:
            await outbox.aclose()


def send(outbox: DurableOutbox, *payloads: int, topic: str = "n") -> None:
    for payload in payloads:
        outbox.send(topic, encode_payload(payload))


@pytest.fixture(params=installed())
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


def started(kind: Kind, *lines: str, tcp: bool = False) -> RedisServer:
    binary = find_server(kind)
    assert binary is not None
    return RedisServer(binary, lines=lines, tcp=tcp).start()


def test_every_server_can_keep_something_on_disk(kind: Kind) -> None:
    fsync = "always" if kind in WITHOUT_WAITAOF else "everysec"
    with started(kind, f"appendfsync {fsync}") as server:
        asyncio.run(_a_redis_killed_right_after_a_flush_has_it_all(server))


async def _a_redis_killed_right_after_a_flush_has_it_all(server: RedisServer) -> None:
    async with sending(server.url, Tier.DISK) as outbox:
        send(outbox, *range(2000))
        await outbox.flush(10.0)
        server.kill()
        assert outbox.waiting == 0
    server.start()
    assert await numbers(server.url, "n") == list(range(2000))


def test_a_server_that_writes_every_second_confirms_nothing_before_that(kind: Kind) -> None:
    with started(kind, "appendfsync everysec") as server:
        asyncio.run(_five_flushes_take_seconds(server))


async def _five_flushes_take_seconds(server: RedisServer) -> None:
    begun = time.monotonic()
    async with sending(server.url, Tier.DISK) as outbox:
        with contextlib.suppress(Unconfirmed):  # of who cannot be asked
            for number in range(5):
                send(outbox, number)
                await outbox.flush(3.0)
    assert time.monotonic() - begun > 2.0


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"redis_version": "7.0.15"}, Proof.CONFIG),
        ({"redis_version": "7.4.1"}, Proof.CONFIG),
        ({"redis_version": "8.2.3"}, Proof.WAITAOF),
        ({"redis_version": "10.0.0"}, Proof.WAITAOF),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.2"}, Proof.CONFIG),
        ({}, Proof.CONFIG),
    ],
)
def test_who_answers_too_early_is_not_asked(server: dict[str, str], expected: Proof) -> None:
    assert proof_of(server) is expected


def test_what_is_never_written_to_disk_is_never_confirmed_and_does_not_delay_the_rest(kind: Kind) -> None:
    with started(kind, "appendfsync no") as server:
        asyncio.run(_only_the_disk_tier_is_unconfirmed(server, "disk"))
    with started(kind, "appendonly no") as server:
        asyncio.run(_only_the_disk_tier_is_unconfirmed(server, "append"))


async def _only_the_disk_tier_is_unconfirmed(server: RedisServer, why: str) -> None:
    async with sending(server.url, Tier.DISK) as outbox:
        send(outbox, 1, 2)
        with pytest.raises(Unconfirmed, match=why) as found:
            await outbox.flush(0.5)
        assert [(one.topic, one.sequence) for one in found.value.messages] == [("n", 1), ("n", 2)]
        send(outbox, 3)
        send(outbox, 7, 8, topic="m")
        await eventually_async(lambda: outbox.waiting == 3)  # those of "n"
        assert await numbers(server.url, "n") == [1, 2, 3]
        assert await numbers(server.url, "m") == [7, 8]


async def test_a_disk_that_comes_later_confirms_what_waited(own_server: RedisServer) -> None:
    async with sending(own_server.url, Tier.DISK) as outbox, Commands(Endpoint.parse(own_server.url)) as commands:
        send(outbox, 1)
        with pytest.raises(Unconfirmed):
            await outbox.flush(0.3)
        await commands.execute("CONFIG", "SET", "appendfsync", "always")
        send(outbox, 2)
        await outbox.flush(5.0)
        assert outbox.waiting == 0
    assert await numbers(own_server.url, "n") == [1, 2]


@pytest.fixture
def pair(kind: Kind) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A server and its replica."""
    with (
        started(kind, "repl-diskless-sync-delay 0", tcp=True) as primary,
        started(kind, f"replicaof 127.0.0.1 {primary.port}") as replica,
    ):
        eventually(lambda: "state=online" in primary.command("INFO", "replication"), within=20)
        yield primary, replica


async def test_at_the_tier_replica_a_replica_has_it_when_flush_returns(pair: tuple[RedisServer, RedisServer]) -> None:
    primary, replica = pair
    async with sending(primary.url, Tier.REPLICA) as outbox:
        for first in range(0, 500, 100):
            send(outbox, *range(first, first + 100))
            await outbox.flush(5.0)
            primary.freeze()  # it cannot tell its replica any more than it has
            assert await numbers(replica.url, "n") == list(range(first + 100))
            primary.thaw()


async def test_without_its_replica_nothing_is_confirmed_until_it_is_back(pair: tuple[RedisServer, RedisServer]) -> None:
    primary, replica = pair
    async with sending(primary.url, Tier.REPLICA) as outbox:
        send(outbox, 1)
        await outbox.flush(5.0)
        replica.freeze()
        send(outbox, 2)
        with pytest.raises(Unconfirmed, match="no replica has it"):
            await outbox.flush(0.5)
        send(outbox, 9, topic="m")
        await eventually_async(lambda: outbox.waiting == 1)
        replica.thaw()
        await outbox.flush(5.0)
        assert await numbers(replica.url, "n") == [1, 2]


async def test_what_a_lost_connection_left_unconfirmed_is_confirmed_on_the_next(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, replica = pair
    async with Proxy(primary.socket) as proxy, sending(f"redis://127.0.0.1:{proxy.port}", Tier.REPLICA) as outbox:
        send(outbox, 0)
        await outbox.flush(5.0)
        replica.freeze()
        proxy.set(Mode.EAT_REPLIES)
        send(outbox, 1, 2)
        await eventually_async(lambda: proxy.eaten > 0)
        proxy.set(Mode.PASS)
        proxy.cut()
        with pytest.raises(Unconfirmed):
            await outbox.flush(2.0)
        replica.thaw()
        await outbox.flush(10.0)
        assert await numbers(replica.url, "n") == [0, 1, 2]


def test_a_server_says_what_it_cannot_confirm(kind: Kind) -> None:
    async def lacks(server: RedisServer, tier: Tier) -> str:
        async with Commands(Endpoint.parse(server.url)) as commands:
            return await shortfall(commands, tier)

    with started(kind, "appendonly no") as server:
        found = {tier: asyncio.run(lacks(server, tier)) for tier in Tier}
    assert not found[Tier.MEMORY]
    assert "append-only" in found[Tier.SECOND]
    assert "append-only" in found[Tier.DISK]
    assert "replica" in found[Tier.REPLICA]
    with started(kind, "appendfsync everysec") as server:
        assert not asyncio.run(lacks(server, Tier.SECOND))
        assert bool(asyncio.run(lacks(server, Tier.DISK))) == (kind in WITHOUT_WAITAOF)
    with started(kind, "appendfsync always") as server:
        assert not asyncio.run(lacks(server, Tier.DISK))


def test_a_node_says_at_start_what_its_redis_cannot_confirm(hive: HiveTest, caplog: pytest.LogCaptureFixture) -> None:
    class Careful(Node):
        @service("order", durable=True, confirm="replica")
        def sell(self, service: Any) -> int:
            return 1

    hive.start(Careful)
    assert [one.levelname for one in caplog.records if 'confirm="replica" cannot be kept' in one.message] == ["ERROR"]


class Strict(Node):
    @service("order", durable=True, confirm="disk")
    def sell(self, service: Any) -> int:
        service.send("tea")
        service.flush(5.0)
        self.send("sold", True)
        return 1


def test_a_test_may_say_confirm_disk(hive: HiveTest) -> None:
    hive.start(Strict)
    assert hive.expect("sold", timeout=8).payload is True


def test_what_is_taken_and_never_confirmed_makes_a_hive_unwell_and_says_what_to_write(own_server: RedisServer) -> None:
    own_server.command("CONFIG", "SET", "appendfsync", "everysec")
    with HiveTest(own_server.url) as hive:
        till = hive.start(Strict)
        eventually(lambda: till._hm.stats().unconfirmed != "", within=10)
        instance = Instance("strict.0", 1, 9e9, About("strict", "", 7, 0.0, 6.0), till._hm.stats())
    (trouble,) = judge("shop", [instance], State()).troubles
    assert trouble.startswith("strict.0: 1 message taken by Redis, but not confirmed: ")
    assert 'write CONFIRM = "disk" in config/hive.py and run `hived reload`' in trouble
