"""The registry and the heart: who lives, who is lost, and who may no longer speak."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from fakeredis import TcpFakeServer
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.data import registry as registry_module
from hivemind.data.records import About, Instance, ServiceRecord, Stats, SubscriptionRecord, about_from, stats_from
from hivemind.data.registry import Registry
from hivemind.errors import Fenced, InstanceHeld, RedisUnavailable
from hivemind.identity import ProcessIdentity
from hivemind.picture.graph import graph
from hivemind.picture.traffic import traffic

from .bus_kit import on_bus, until
from .servers import RedisServer, free_port
from .waiting import eventually

pytestmark = pytest.mark.timeout(30)

STATS = Stats(
    services=(ServiceRecord("bat.signal", "running", sent=3),),
    subscriptions=(SubscriptionRecord("joker.*", "catch", received=2, handled=1),),
)


def about(lease: float = 6.0, **more: Any) -> About:
    me = ProcessIdentity.current()
    return About("batman", me.host, me.pid, time.time(), lease, me, metadata={"url": "http://x"}, **more)


def registry_of(bus: Bus) -> Registry:
    return Registry(bus.commands, bus.functions, bus.names)


@contextlib.asynccontextmanager
async def registry(server: RedisServer, hive: str = "t") -> AsyncIterator[Registry]:
    async with on_bus(server.url, "root.0", hive) as bus:
        yield registry_of(bus)


def gone() -> ProcessIdentity:
    """A process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = eventually(lambda: ProcessIdentity.of(process.pid))
    process.communicate(b"\n")
    assert identity is not None
    return identity


# -- registering


@pytest.mark.every_server
async def test_who_registers_is_seen_with_all_that_is_known(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        before = time.time()
        life = await book.register("batman.3", about(), STATS)
        (seen,) = await book.instances()
        assert (seen.instance, seen.node, seen.number, seen.incarnation) == ("batman.3", "batman", 3, life)
        assert (seen.stats, seen.about.process) == (STATS, ProcessIdentity.current())
        assert seen.state == "running"
        assert not seen.is_lost
        assert seen.expires == pytest.approx(before + 6, abs=1)
        assert await book.instance("batman.3") == seen
        assert await book.instance("robin.0") is None
        flat = orjson.loads(orjson.dumps(seen.to_json()))
        assert (flat["instance"], flat["state"], flat["metadata"]) == ("batman.3", "running", {"url": "http://x"})
        assert flat["services"][0]["name"] == "bat.signal"


@pytest.mark.every_server
async def test_incarnations_grow_also_after_redis_lost_everything(own_server: RedisServer) -> None:
    async with registry(own_server) as book:
        lives = []
        for number in range(4):
            lives.append(await book.register("batman.0", about(), STATS))
            if number == 2:
                await asyncio.to_thread(own_server.restart, keep_data=False)
            else:
                await book.deregister("batman.0", lives[-1])
        assert lives == sorted(set(lives))
        assert lives[0] > 1_700_000_000_000


async def test_incarnations_grow_even_if_the_clock_was_set_back(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        far = 9_999_999_999_999
        server.command("SET", f"hm:{{{hive_name}}}:epoch:batman.0", far)
        assert await book.register("batman.0", about(), STATS) == far + 1


async def test_a_number_that_is_held_is_not_given_twice(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        await book.register("batman.0", about(), STATS)
        me = ProcessIdentity.current()
        with pytest.raises(InstanceHeld, match=f"process {me.pid} on {me.host}"):
            await book.register("batman.0", about(), STATS)


async def test_a_holder_on_another_host_is_left_alone_until_its_lease_ends(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        stranger = replace(gone(), host="elsewhere")
        first = await book.register("batman.0", replace(about(0.1), process=stranger), STATS)
        with pytest.raises(InstanceHeld):
            await book.register("batman.0", about(), STATS)
        await until(lambda: is_lost(book, "batman.0"))
        with pytest.raises(InstanceHeld, match="did not say goodbye, and may live") as held:
            await book.register("batman.0", about(), STATS)
        assert await book.register("batman.0", about(), STATS, held.value) > first


async def test_a_dead_holder_on_this_machine_is_replaced_at_once(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        first = await book.register("batman.0", replace(about(), process=gone()), STATS)
        assert await book.register("batman.0", about(), STATS) > first


async def test_a_holder_on_this_machine_that_is_gone_for_longer_than_its_lease_is_known_and_replaced_at_once(
    server: RedisServer, hive_name: str
) -> None:
    async with registry(server, hive_name) as book:
        first = await book.register("batman.0", replace(about(0.1), process=gone()), STATS)
        await until(lambda: is_lost(book, "batman.0"))
        assert await book.register("batman.0", about(), STATS) > first


async def is_lost(book: Registry, instance: str) -> bool:
    found = await book.instance(instance)
    return found is not None and found.is_lost


@pytest.mark.every_server
async def test_without_renewal_it_is_lost_and_then_can_be_forgotten(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        life = await book.register("batman.0", about(0.2), STATS)
        assert await book.renew("batman.0", life, 0.2, STATS)
        assert not await book.forget("batman.0")
        await until(lambda: is_lost(book, "batman.0"))
        (lost,) = await book.instances()
        assert (lost.state, lost.expires) == ("lost", None)
        assert (await book.late({"batman.0": 0.2}))[1]["batman.0"] < 0
        assert not await book.renew("batman.0", life, 0.2, STATS)
        assert await book.forget("batman.0")
        assert await book.instances() == []


@pytest.mark.every_server
async def test_who_has_not_beaten_for_half_a_lease_is_late(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        before = time.time()
        for name in ("batman.0", "batman.1", "robin.0"):
            await book.register(name, about(10.0), STATS)
        asked = {"robin.0": 10.0, "batman.0": 10.0, "batman.1": 21.0, "alfred.0": 10.0, "batman.2": 4.0}
        told, late = await book.late(asked)
        assert abs(told - before) < 5.0
        assert late == {"batman.1": pytest.approx(1000 * (told + 10.0), abs=2000), "alfred.0": -2, "batman.2": -2}
        assert (await book.late({"robin.0": 8.0}))[1].keys() == {
            "robin.0"
        }  # it ends later than it could: a clock was set
        assert (await book.late({}))[1] == {}


async def test_who_leaves_is_gone_unless_another_has_its_place(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        life = await book.register("batman.0", about(), STATS)
        await book.deregister("batman.0", life - 1)
        assert len(await book.instances()) == 1
        await book.deregister("batman.0", life)
        assert await book.instances() == []


@pytest.mark.every_server
@pytest.mark.parametrize("comes_back", [False, True])
async def test_who_leaves_while_all_are_read_is_not_lost_and_is_there_if_another_life_began(
    server: RedisServer, hive_name: str, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    async with registry(server, hive_name) as book, registry(server, hive_name) as other:
        lives = [await other.register("batman.0", about(), STATS)]
        pipeline = book._commands.pipeline

        async def late(commands: Any) -> Any:
            if commands[0][0] != "HMGET":
                return await pipeline(commands)
            monkeypatch.undo()
            await other.deregister("batman.0", lives[0])
            seen = await pipeline(commands)
            if comes_back:
                lives.append(await other.register("batman.0", about(), STATS))
            return seen

        monkeypatch.setattr(book._commands, "pipeline", late)
        seen = await book.instances()
        assert [(one.is_lost, one.incarnation) for one in seen] == [(False, life) for life in lives[1:]]


async def test_an_older_life_is_fenced_everywhere(own_server: RedisServer) -> None:
    async with registry(own_server) as book:
        old = await book.register("batman.0", replace(about(), process=gone()), STATS)
        new = await book.register("batman.0", about(), STATS)
        with pytest.raises(Fenced, match=f"{old} has been replaced by {new}"):
            await book.renew("batman.0", old, 6.0, STATS)
        with pytest.raises(Fenced):
            await book.register_again("batman.0", old, about(), STATS)
        own_server.command("DEL", "hm:{t}:epoch:batman.0")  # it expires a day after the registration
        with pytest.raises(Fenced):
            await book.register_again("batman.0", old, about(), STATS)
        found = await book.instance("batman.0")
        assert found is not None
        assert (found.incarnation, found.state) == (new, "running")


async def test_the_same_life_registers_again_after_redis_lost_its_data(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        life = await book.register("batman.0", about(), STATS)
        server.command("DEL", f"hm:{{{hive_name}}}:node:batman.0", f"hm:{{{hive_name}}}:epoch:batman.0")
        assert not await book.renew("batman.0", life, 6.0, STATS)
        await book.register_again("batman.0", life, about(), STATS)
        assert await book.renew("batman.0", life, 6.0, STATS)
        assert await book.newest("batman.0") == life


async def test_a_hash_of_ones_predecessor_that_redis_brings_back_is_replaced(
    server: RedisServer, hive_name: str
) -> None:
    async with registry(server, hive_name) as book:
        life = await book.register("batman.0", about(), STATS)
        server.command("HSET", f"hm:{{{hive_name}}}:node:batman.0", "incarnation", str(life - 5))
        assert not await book.renew("batman.0", life, 6.0, STATS)
        await book.register_again("batman.0", life, about(), STATS)
        assert await book.newest("batman.0") == life


# -- hostile contents


async def test_what_strangers_wrote_is_read_without_harm(server: RedisServer, hive_name: str) -> None:
    async with registry(server, hive_name) as book:
        await book.register("batman.0", about(), STATS)
        server.command("SADD", f"hm:{{{hive_name}}}:nodes", "x", "../y.0", "a.b.c", "joker.0", "list.0", b"\xff.0", "")
        server.command(
            "HSET", f"hm:{{{hive_name}}}:node:joker.0", "incarnation", "1" * 5000, "about", "[", "stats", "7"
        )
        server.command("RPUSH", f"hm:{{{hive_name}}}:node:list.0", "x")
        found = {one.instance: one for one in await book.instances()}
        assert list(found) == ["batman.0", "joker.0", "list.0"]
        assert [one.to_json()["incarnation"] > 0 for one in found.values()] == [True, False, False]


async def test_names_that_nobody_has_hide_nobody_however_many_are_in_the_list(
    server: RedisServer, hive_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registry(server, hive_name) as book:
        for name in ("batman.0", "joker.0"):
            await book.register(name, about(), STATS)
        server.command("DEL", f"hm:{{{hive_name}}}:node:joker.0")
        strays = [f"{node}.{at}" for node in ("batman", "x") for at in range(1, 1000)]
        server.command("SADD", f"hm:{{{hive_name}}}:nodes", *strays)
        assert [(one.instance, one.is_lost) for one in await book.instances()] == [
            ("batman.0", False),
            ("joker.0", True),
        ]
        assert book.strays == sorted(strays)
        assert [one.instance for one in await book.those(["joker.0", "x.1"])] == ["joker.0"]
        monkeypatch.setattr(registry_module, "MOST_OF_NODE", 3)
        for at in range(1, 5):
            server.command("HSET", f"hm:{{{hive_name}}}:node:batman.{at}", "incarnation", 1)
        assert [one.instance for one in await book.instances()] == ["batman.0", "batman.1", "batman.2", "joker.0"]


PROCESS: dict[str, Any] = {"pid": 1, "started": 1.0, "boot": "b", "host": "h"}
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = [*About.__dataclass_fields__, *Stats.__dataclass_fields__]


@given(st.dictionaries(st.sampled_from(KEYS), anything))
def test_any_json_is_read_as_something_harmless(raw: dict[str, Any]) -> None:
    assert about_from(raw, "batman.0").node == "batman"
    assert stats_from(raw).state


@pytest.mark.parametrize("much", [2**64 - 1, -(2**63), 1e308, -1e308])
async def test_no_number_of_a_stranger_is_beyond_what_redis_and_json_have(
    server: RedisServer, hive_name: str, much: float
) -> None:
    said = about_from(dict.fromkeys(KEYS, much) | {"process": {**PROCESS, "pid": much}}, "batman.0")
    records = [
        dict.fromkeys(SubscriptionRecord.__dataclass_fields__, much) | {"name": "x", "pattern": "x", "sent": much}
    ] * 1000
    stats = stats_from(dict.fromkeys(KEYS, much) | {"subscriptions": records, "services": records})
    found = [Instance(f"batman.{at}", 1, None, said, stats) for at in range(3)]
    orjson.dumps([traffic(found).to_json(), graph(found).to_json(), found[0].to_json()])
    async with registry(server, hive_name) as book:  # hived asks so, and may not stumble: it watches over everybody
        assert await book.late({"batman.0": said.lease})


def test_no_process_has_a_pid_that_means_many() -> None:
    for pid in (0, -1, 2**31):
        with pytest.raises(ValueError, match="pid"):
            ProcessIdentity.from_json({**PROCESS, "pid": pid})


@given(st.fixed_dictionaries(dict.fromkeys(PROCESS, anything)))
def test_any_process_is_read_as_one_or_none(process: dict[str, Any]) -> None:
    found = about_from({"process": process}, "batman.0").process
    assert found is None or not found.is_alive()


@given(st.lists(st.dictionaries(st.sampled_from(list(SubscriptionRecord.__dataclass_fields__)), anything)))
def test_any_records_are_read_as_records(records: list[dict[str, Any]]) -> None:
    stats = stats_from({"subscriptions": records, "services": records})
    assert len(stats.subscriptions) == len(stats.services) == len(records)
    assert all(isinstance(one.handled, int) for one in stats.subscriptions)


# -- functions


@pytest.mark.every_server
async def test_functions_are_loaded_again_when_redis_lost_them(own_server: RedisServer) -> None:
    async with registry(own_server) as book:
        life = await book.register("batman.0", about(), STATS)
        own_server.command("FUNCTION", "FLUSH")
        assert await book.renew("batman.0", life, 6.0, STATS)


async def patiently(call: Callable[[], Awaitable[Any]]) -> Any:
    """fakeredis's server now and then closes a connection in the middle of a command: ask again."""
    for _ in range(9):
        with contextlib.suppress(RedisUnavailable):
            return await call()
    return await call()


async def test_where_there_are_no_functions_the_same_lua_is_evaluated() -> None:
    port = free_port()
    fake = TcpFakeServer(("127.0.0.1", port), server_type="redis", server_version=(6, 2))
    serving = asyncio.create_task(asyncio.to_thread(fake.serve_forever))
    try:
        async with Bus(Endpoint.parse(f"redis://127.0.0.1:{port}"), "t", "root.0") as bus:
            book = registry_of(bus)
            life = await patiently(lambda: book.register("batman.0", about(), STATS))
            assert await patiently(lambda: book.renew("batman.0", life, 6.0, STATS))
            with pytest.raises(InstanceHeld):
                await patiently(lambda: book.register("batman.0", about(), STATS))
            with pytest.raises(Fenced):
                await patiently(lambda: book.renew("batman.0", life - 1, 6.0, STATS))
            assert await patiently(lambda: book.renew("batman.0", life, 6.0, replace(STATS, state="stopping")))
            await patiently(lambda: book.deregister("batman.0", life))
    finally:
        await asyncio.to_thread(fake.shutdown)
        fake.server_close()
        await serving


@pytest.mark.every_server
@pytest.mark.parametrize("epoch", ["garbage", "1e30", "9007199254740993", ""])
async def test_garbage_in_the_registry_keeps_nobody_out(server: RedisServer, hive_name: str, epoch: str) -> None:
    server.command("SET", f"hm:{{{hive_name}}}:epoch:a.0", epoch)
    server.command("SET", f"hm:{{{hive_name}}}:node:a.0", "not a hash")
    async with registry(server, hive_name) as book:
        incarnation = await book.register("a.0", about(), Stats())
        assert 1_000_000_000_000 < incarnation < 2**53
        assert await book.renew("a.0", incarnation, 6.0, STATS)


async def test_garbage_in_the_place_of_an_instance_keeps_nobody_from_registering(
    server: RedisServer, hive_name: str
) -> None:
    key = f"hm:{{{hive_name}}}:node:batman.0"
    async with registry(server, hive_name) as book:
        server.command("HSET", key, "incarnation", "x" * 9, "about", b"\xff\xfe")
        first = await book.register("batman.0", about(), STATS)
        server.command("HSET", key, "about", b"\xff\xfe")
        with pytest.raises(InstanceHeld):
            await book.register("batman.0", about(), STATS)
        assert (await book.newest("batman.0")) == first
