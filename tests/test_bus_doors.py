"""Whom Redis lets in: passwords, TLS, Sentinels with a password. On every server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hivemind.bus import link as link_module
from hivemind.states import LinkState

from .bus_kit import are_up, flows, is_in_order, on_bus, pair, passes
from .conftest import MakeServer
from .sentinel import SentinelServer
from .servers import Connection, RedisServer
from .tls import Authority, terminator
from .waiting import eventually_async

pytestmark = [pytest.mark.alone, pytest.mark.every_server, pytest.mark.timeout(60)]


# -- passwords


async def test_a_wrong_password_is_said_once_tried_slowly_and_forgiven(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "DENIED_DELAY", 1.0)
    server = make_server(lines=("requirepass right",))
    url = f"unix://:wrong@{server.socket}"
    async with on_bus(url, up=False) as bus:
        links = (bus.outbox.link, bus.live.link)
        await eventually_async(lambda: all(link.state is LinkState.DENIED for link in links))
        bus.send("x", "kept")
        with Connection(server.socket) as door:
            door.ask("AUTH", "right")
            before = connections_made(door)
            await passes(1.5)
            assert connections_made(door) - before <= 4
            (complaint,) = [record.getMessage() for record in caplog.records if record.name == "hivemind.redis"]
            assert complaint.startswith("Redis denies us: ")
            assert "check user and password in REDIS_URL" in complaint
            assert ":***@" in complaint
            door.ask("CONFIG", "SET", "requirepass", "wrong")
        await are_up(bus, within=3.0)
        await bus.flush(2.0)


async def test_a_changed_password_denies_until_it_is_changed_back(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "DENIED_DELAY", 0.5)
    server = make_server(lines=("requirepass old",))
    async with pair(f"unix://:old@{server.socket}") as (alfred, bruce, got):
        with Connection(server.socket) as door:
            door.ask("AUTH", "old")
            door.ask("CONFIG", "SET", "requirepass", "new")
            door.ask("CLIENT", "KILL", "TYPE", "pubsub")
            door.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await eventually_async(lambda: bruce.live.link.state is LinkState.DENIED)
            await eventually_async(lambda: alfred.outbox.link.state is LinkState.DENIED)
            alfred.send("x", "while denied")
            door.ask("CONFIG", "SET", "requirepass", "old")
        assert await flows(alfred, got, within=4.0) < 3.0
        assert is_in_order(got)


def connections_made(door: Connection) -> int:
    found = re.search(r"total_connections_received:(\d+)", door.ask("INFO", "stats"))
    assert found
    return int(found.group(1))


# -- TLS


@pytest.mark.every_loop
async def test_tls_with_an_authority_of_ones_own(own_server: RedisServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with terminator(own_server.socket, authority) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={authority.ca_file}"
        async with pair(url) as (alfred, bruce, got):
            for number in range(3000):
                alfred.send("x", [number, "y" * 100])
            await got.has(3001)
            proxy.cut()
            await eventually_async(lambda: bruce.live.link.gaps == 1)
            assert await flows(alfred, got, within=3.0) < 2.0
            alfred.send("x", "z" * 1_000_000)
            await eventually_async(lambda: got.payloads[-1] == "z" * 1_000_000)


async def test_a_server_with_a_strangers_certificate_is_refused_in_words(
    own_server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    async with (
        terminator(own_server.socket, theirs) as proxy,
        on_bus(f"rediss://127.0.0.1:{proxy.port}?ssl_ca_certs={ours.ca_file}", up=False) as bus,
    ):
        await eventually_async(lambda: "certificate verify failed" in bus.outbox.link.last_error)
        await eventually_async(lambda: "certificate verify failed" in bus.live.link.last_error)
        assert bus.outbox.link.state is LinkState.CONNECTING
    assert "TLS failed" in caplog.text


# -- Sentinel


async def test_a_sentinel_with_a_password_gets_its_own_or_that_of_redis(make_server: MakeServer) -> None:
    primary = make_server(tcp=True, lines=("requirepass pw",))
    with SentinelServer(primary, lines=("requirepass pw", "sentinel auth-pass main pw")) as sentinel:
        for url in (
            f"redis+sentinel://:pw@127.0.0.1:{sentinel.port}/main",
            f"redis+sentinel://:pw@127.0.0.1:{sentinel.port}/main?sentinel_password=pw",
        ):
            async with pair(url) as (alfred, _, got):
                await flows(alfred, got, within=2.0)
