"""Ordinary commands: answers, errors, time limits, and connections that nobody forgets."""

from __future__ import annotations

import asyncio
import time

import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import LIBRARY, Functions, library
from hivemind.errors import RedisDenied, RedisRefused, RedisUnavailable

from .conftest import MakeServer
from .proxy import Mode, Proxy
from .servers import RedisServer
from .waiting import eventually_async

pytestmark = pytest.mark.timeout(20)


def commands(url: str, timeout: float = 5.0) -> Commands:
    return Commands(Endpoint.parse(url), "hm:test", timeout=timeout)


def clients(server: RedisServer) -> int:
    return str(server.command("CLIENT", "LIST")).count("name=hm:test")


@pytest.mark.every_loop
async def test_a_command_is_answered_with_bytes(own_server: RedisServer) -> None:
    async with commands(own_server.url) as redis:
        assert await redis.execute("SET", "hero", "Batman") == b"OK"
        assert await redis.execute("GET", "hero") == b"Batman"
        assert await redis.execute("GET", "nobody") is None


async def test_errors_in_a_pipeline_stand_in_their_place(own_server: RedisServer) -> None:
    async with commands(own_server.url) as redis:
        first, second, third = await redis.pipeline([("SET", "n", "x"), ("INCR", "n"), ("GET", "n")])
        assert (first, third) == (b"OK", b"x")
        assert isinstance(second, RedisRefused)
        assert await redis.pipeline([]) == []


async def test_an_error_is_raised_and_the_connection_is_used_again(own_server: RedisServer) -> None:
    async with commands(own_server.url) as redis:
        for _ in range(5):
            with pytest.raises(RedisRefused, match="not an integer"):
                await redis.execute("INCRBY", "n", "x")
        assert clients(own_server) == 1


async def test_many_at_once_share_a_few_connections(own_server: RedisServer) -> None:
    async with commands(own_server.url) as redis:
        found = await asyncio.gather(*(redis.execute("INCR", "n") for _ in range(100)))
        assert sorted(found) == list(range(1, 101))
        assert clients(own_server) <= 4
    await eventually_async(lambda: clients(own_server) == 0)


@pytest.mark.every_loop
async def test_after_a_restart_of_redis_the_next_command_succeeds(own_server: RedisServer) -> None:
    async with commands(own_server.url) as redis:
        await redis.execute("SET", "hero", "Batman")
        own_server.restart(keep_data=True)
        assert await redis.execute("GET", "hero") == b"Batman"


async def test_while_redis_is_away_a_command_says_so(own_server: RedisServer) -> None:
    async with commands(own_server.url) as redis:
        own_server.stop()
        with pytest.raises(RedisUnavailable, match=r"redis\.sock"):
            await redis.execute("PING")
        assert await redis.ping() is False
        own_server.start()
        assert await redis.ping() is True


async def test_without_an_answer_a_command_fails_in_time_and_is_not_repeated(own_server: RedisServer) -> None:
    async with Proxy(own_server.socket) as proxy, commands(f"redis://127.0.0.1:{proxy.port}", 0.2) as redis:
        await redis.execute("SET", "n", 0)
        proxy.set(Mode.EAT_REPLIES)
        begun = time.monotonic()
        with pytest.raises(RedisUnavailable):
            await redis.execute("INCR", "n")
        assert time.monotonic() - begun < 1.0
        proxy.set(Mode.PASS)
        assert await redis.execute("GET", "n") == b"1"


async def test_a_cancelled_command_leaves_no_answer_for_the_next(own_server: RedisServer) -> None:
    async with Proxy(own_server.socket, latency=0.02) as proxy, commands(f"redis://127.0.0.1:{proxy.port}") as redis:
        await redis.execute("SET", "a", "wrong")
        reading = asyncio.create_task(redis.execute("GET", "a"))
        await eventually_async(lambda: not redis._idle)
        reading.cancel()
        assert await redis.execute("ECHO", "right") == b"right"


async def test_cancelling_while_connecting_leaves_no_connection(own_server: RedisServer) -> None:
    async with Proxy(own_server.socket) as proxy, commands(f"redis://127.0.0.1:{proxy.port}") as redis:
        proxy.set(Mode.BLACKHOLE)
        assert await redis.ping(timeout=0.05) is False
        proxy.set(Mode.PASS)
        await eventually_async(lambda: proxy.connections == 0)


async def test_what_is_closed_while_a_command_runs_is_closed_after_it(own_server: RedisServer) -> None:
    redis = commands(own_server.url)
    blocking = asyncio.create_task(redis.execute("BLPOP", "list", 1))
    await eventually_async(lambda: "cmd=blpop" in own_server.command("CLIENT", "LIST"))
    await redis.aclose()
    own_server.command("RPUSH", "list", "x")
    assert await blocking == [b"list", b"x"]
    await eventually_async(lambda: clients(own_server) == 0)


@pytest.mark.parametrize("by", ["tcp", "unix"])
async def test_a_wrong_password_is_denied_and_not_shown(make_server: MakeServer, by: str) -> None:
    server = make_server(tcp=True, lines=("requirepass right",))
    where = f"127.0.0.1:{server.port}" if by == "tcp" else str(server.socket)
    scheme = "redis" if by == "tcp" else "unix"
    async with commands(f"{scheme}://:wrong@{where}") as redis:
        with pytest.raises(RedisDenied, match="check user and password") as caught:
            await redis.execute("PING")
        assert "wrong" not in str(caught.value)
    async with commands(f"{scheme}://{where}") as redis:
        with pytest.raises(RedisDenied, match="Authentication required"):
            await redis.execute("PING")


async def test_a_user_who_may_not_name_connections_may_still_have_them(own_server: RedisServer) -> None:
    own_server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+get")
    async with commands(f"unix://bob:pw@{own_server.socket}") as redis:
        assert await redis.execute("GET", "x") is None
        with pytest.raises(RedisDenied, match=r"no permissions.*set"):
            await redis.execute("SET", "x", 1)


@pytest.mark.every_server
async def test_functions_are_loaded_when_they_are_missed(own_server: RedisServer) -> None:
    async with commands(own_server.url) as redis:
        functions = Functions(redis)
        for _ in range(2):
            assert await functions.call("forget", ("k", "s", "r", "d", "w"), ("batman.0",)) == 0
            assert LIBRARY in str(own_server.command("FUNCTION", "LIST"))
            own_server.command("FUNCTION", "FLUSH")


async def test_who_may_not_load_functions_is_told_and_can_call_them_when_somebody_has(own_server: RedisServer) -> None:
    own_server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-function")
    async with commands(f"unix://bob:pw@{own_server.socket}") as redis:
        functions = Functions(redis)
        with pytest.raises(RedisRefused, match="a user that may has to load it"):
            await functions.call("forget", ("k", "s", "r", "d", "w"), ("batman.0",))
        own_server.command("FUNCTION", "LOAD", library())
        await functions.call("forget", ("k", "s", "r", "d", "w"), ("batman.0",))
