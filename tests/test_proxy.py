"""The misbehaving network and the TLS terminator themselves: what the fault tests rely on."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest

from .proxy import Mode, Proxy
from .servers import RedisServer
from .tls import Authority, terminator
from .waiting import eventually_async

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

PONG = b"+PONG\r\n"


async def ping(streams: Streams, within: float = 2.0) -> bytes:
    reader, writer = streams
    writer.write(b"PING\r\n")
    return await asyncio.wait_for(reader.readline(), within)


async def test_it_passes_and_takes_its_time(server: RedisServer) -> None:
    async with Proxy(server.socket, latency=0.05) as proxy:
        client = await asyncio.open_connection("127.0.0.1", proxy.port)
        begun = time.monotonic()
        assert await ping(client) == PONG
        assert time.monotonic() - begun >= 0.1
        client[1].close()


async def test_a_black_hole_holds_everything_back_until_it_passes_again(server: RedisServer) -> None:
    async with Proxy(server.socket) as proxy:
        client = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ping(client) == PONG
        proxy.set(Mode.BLACKHOLE)
        with pytest.raises(TimeoutError):
            await ping(client, within=0.1)
        proxy.set(Mode.PASS)
        assert await asyncio.wait_for(client[0].readline(), 2.0) == PONG
        client[1].close()


async def test_eaten_replies_never_arrive(server: RedisServer, hive_name: str) -> None:
    async with Proxy(server.socket) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.set(Mode.EAT_REPLIES)
        writer.write(f"SET {hive_name} here\r\n".encode())
        await eventually_async(lambda: proxy.eaten == len(b"+OK\r\n"))
        assert server.command("GET", hive_name) == "here"
        proxy.set(Mode.PASS)
        assert await ping((reader, writer)) == PONG
        writer.close()


async def test_a_reset_reaches_open_and_new_connections(server: RedisServer) -> None:
    async with Proxy(server.socket) as proxy:
        client = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ping(client) == PONG
        proxy.set(Mode.RESET)
        with pytest.raises(ConnectionResetError):
            await ping(client)
        again, _ = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await again.readline()
        await eventually_async(lambda: proxy.connections == 0)


async def test_the_terminator_is_trusted_by_its_authority_alone(server: RedisServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with terminator(server.socket, authority) as front:
        trusting = ssl.create_default_context(cafile=authority.ca_file)
        client = await asyncio.open_connection("127.0.0.1", front.port, ssl=trusting)
        assert await ping(client) == PONG
        client[1].close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", front.port, ssl=ssl.create_default_context())
