"""Hives on a Redis Cluster of three primaries: homes, classic pub/sub, failover."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hivemind.bus.cluster import SlotMap, read_answers, redirection
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.facts import Rights, facts_of
from hivemind.bus.functions import Functions
from hivemind.data.records import About, Stats
from hivemind.data.registry import Registry
from hivemind.errors import RedisDenied, RedisError, RedisUnavailable
from hivemind.topics import Names

from .bus_kit import Collector, are_up, flows, is_in_order, on_bus, until
from .clusters import Cluster, ClusterNode
from .conftest import MakeServer
from .waiting import eventually_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


# -- the map


A, B = ("a", 1), ("b", 2)
NODES = [[0, 99, [b"a", 1, b"x"], [b"c", 3, b"z"]], [100, 16383, [b"b", 2, b"y"]]]
INFO = b"cluster_state:ok\r\ncluster_current_epoch:7\r\n"


def test_a_map_says_who_serves_a_slot_and_takes_corrections() -> None:
    found = read_answers(A, NODES, INFO, b"redis_version:7.0.15")
    assert (found.primary(0), found.primary(99), found.primary(100), found.epoch, found.is_ok) == (A, A, B, 7, True)
    assert found.nodes == {A, B, ("c", 3)}
    better = found.corrected(5, B)
    assert (better.primary(5), better.primary(6)) == (B, A)
    assert SlotMap().primary(1) is None


def test_a_node_that_does_not_know_its_host_is_where_it_was_asked() -> None:
    assert read_answers(A, [[0, 16383, [b"", 5]]], INFO, None).primary(3) == ("a", 5)
    assert redirection("MOVED 3999 :5", A) == (3999, ("a", 5))
    assert redirection("MOVED 3999 ::1:5", A) == (3999, ("::1", 5))
    assert redirection("ERR no", A) is None


def test_an_old_redis_is_named() -> None:
    with pytest.raises(RedisDenied, match=r"a:1 is Redis 6\.2\.14: Hivemind needs Redis 7 or later, or Valkey"):
        read_answers(A, NODES, INFO, b"redis_version:6.2.14")


async def test_a_redis_that_is_no_cluster_is_named(make_server: MakeServer) -> None:
    server = make_server(tcp=True)
    with pytest.raises(RedisDenied, match=r"is no part of a cluster: write redis:// instead of redis\+cluster://"):
        await Endpoint.parse(f"redis+cluster://127.0.0.1:{server.port}").open("x")


async def test_a_server_of_a_cluster_that_is_taken_for_a_single_one_is_named(cluster: Cluster) -> None:
    away = next(node for node in cluster.primaries if node is not cluster.owner("one"))
    async with Commands(Endpoint.parse(f"redis://127.0.0.1:{away.port}")) as commands:
        with pytest.raises(RedisDenied, match=r"is a part of a cluster: write redis\+cluster://host:port instead"):
            await commands.execute("GET", Names("one").nodes())


async def test_a_cluster_without_slots_says_how_they_are_dealt_out(server_program: Path) -> None:
    hint = "no node of it has slots yet: `redis-cli --cluster create`"
    with ClusterNode(server_program) as alone, pytest.raises(RedisUnavailable, match=hint):
        await Endpoint.parse(f"redis+cluster://127.0.0.1:{alone.port}").open("x")


# -- the home of a hive


async def test_every_hive_registers_at_its_home_and_functions_are_loaded_there(cluster: Cluster) -> None:
    for hive in ("one", "two", "three", "four"):
        async with Commands(Endpoint.parse(cluster.url).of(hive)) as commands:
            registry = Registry(commands, Functions(commands), Names(hive))
            assert await registry.register("a.0", About("a", "here", 1, 0.0, 60.0), Stats()) > 1
            assert [each.instance for each in await registry.instances()] == ["a.0"]
        assert cluster.owner(hive).command("SMEMBERS", Names(hive).nodes()) == ["a.0"]


async def test_while_the_slot_of_the_home_moves_no_responder_is_taken_for_dead(
    cluster: Cluster, hive_name: str
) -> None:
    async with Commands(Endpoint.parse(cluster.url).of(hive_name)) as commands:
        names, functions = commands.endpoint.names, Functions(commands)
        node, member = names.node("a.0"), "a.0.e7"
        who, since = names.responders("sum"), names.responders_since("sum")
        await commands.execute("HSET", node, "incarnation", 7)
        await functions.call("enlist", (who, node, since), (member, 7, 1))
        home, other = cluster.owner(hive_name), cluster.others(hive_name)[0]
        cluster.begin_to_move(hive_name, other)
        home.command("MIGRATE", "127.0.0.1", other.port, node, 0, 5000)
        assert member.encode() in await functions.call("inquire", (who, since), (names.node(""), "c", "?"))
        asked = (names.node(""), names.request("sum", ""), "inbox", '"try":1', 1, "{}")
        assert await functions.call("ask", (who,), asked) == 1  # away, and not gone
        assert home.command("ZRANGE", who, 0, -1) == [member]
        with pytest.raises(RedisUnavailable):
            await commands.execute("HGET", node, "incarnation")
        cluster.move(hive_name, other)
        assert cluster.owner(hive_name).command("ZRANGE", who, 0, -1) == [member]


async def test_a_connection_that_leads_elsewhere_is_cut_though_the_home_answers(
    cluster: Cluster, hive_name: str
) -> None:
    away = cluster.others(hive_name)[0]
    async with on_bus(cluster.url, "a.0", hive_name) as alfred:
        stray = await alfred.endpoint.at(("127.0.0.1", away.port)).open("stray")
        alfred.endpoint.peers.add(stray)
        home = {("127.0.0.1", cluster.owner(hive_name).port)}
        assert alfred.endpoint.peers.addresses > home
        await eventually_async(lambda: alfred.endpoint.peers.addresses == home, 10.0)
        assert alfred.outbox.link.gaps == alfred.live.link.gaps == 0
        await stray.disconnect(nowait=True)


async def test_any_seed_will_do_also_if_others_are_dead(cluster: Cluster) -> None:
    dead = "redis+cluster://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:"
    async with Commands(Endpoint.parse(f"{dead}{cluster.nodes[1].port}")) as commands:
        assert await commands.ping()


async def test_exact_topics_and_patterns_over_the_home(cluster: Cluster, hive_name: str) -> None:
    async with on_bus(cluster.url, "a.0", hive_name) as alfred, on_bus(cluster.url, "b.0", hive_name) as bruce:
        exact, every = await Collector("x.1").join(bruce), await Collector("x.*").join(bruce)
        for number in range(3000):
            alfred.send(f"x.{number % 3}", number)
        await alfred.flush()
        assert await exact.has(1000) == list(range(1, 3000, 3))
        assert await every.has(3000) == list(range(3000))
        assert (every.subscription.ledger.missed, every.subscription.ledger.duplicate) == (0, 0)


async def test_a_hive_follows_its_slot(cluster: Cluster) -> None:
    async with Commands(Endpoint.parse(cluster.url).of("nomad")) as commands:
        assert await commands.execute("SET", "{nomad}", 1) == b"OK"
        await commands.execute("DEL", "{nomad}")
        cluster.move("nomad", cluster.others("nomad")[0])
        with pytest.raises(RedisError, match="127"):
            await commands.execute("SET", "{nomad}", 2)
        await until(lambda: worked(commands, "SET", "{nomad}", 3))
        assert cluster.owner("nomad").command("GET", "{nomad}") == "3"
        await commands.execute("DEL", "{nomad}")


async def worked(commands: Commands, *command: str | int) -> bool:
    try:
        return bool(await commands.execute(*command) == b"OK")
    except RedisError:
        return False


async def test_the_home_killed_its_replica_takes_over(server_program: Path) -> None:
    with Cluster(server_program, replicas=3) as own:
        home = own.owner("t")
        async with on_bus(own.url, "a.0") as alfred, on_bus(own.url, "b.0") as bruce:
            got = await Collector("x").join(bruce)
            alfred.send("x", "first")
            await got.has(1)
            await asyncio.to_thread(home.kill)
            for number in range(1000):
                alfred.send("x", number)
            await eventually_async(lambda: own.owner("t") is not home, within=20)
            await are_up(alfred, bruce, within=20)
            await flows(alfred, got, within=10)
            assert is_in_order(got)
            assert got.subscription.ledger.missed + len(got.handled) == 1002


async def test_of_a_cluster_each_primary_is_asked_how_it_is(cluster: Cluster) -> None:
    found = await facts_of(Endpoint.parse(cluster.url), "gotham")
    assert [(one.error, one.rights, one.info["cluster_enabled"]) for one in found] == [("", Rights(), "1")] * 3
    assert len({one.where for one in found}) == 3
