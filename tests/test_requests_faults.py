"""Requests while things break: a responder dies, freezes or is cut off, Redis restarts or forgets everything."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from hivemind import Node, RequestTimeout, connect, responder
from hivemind.bus.bus import Bus
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.client.client import Client
from hivemind.data.responders import Responders
from hivemind.errors import ConfigurationError, NoResponders, RedisError, RequestError, RequestLost
from hivemind.testing import HiveTest
from hivemind.topics import Names

from .hand_loop import Clock
from .node_kit import NodeProcess, Workshop, workshop
from .servers import RedisServer
from .waiting import eventually

WORKER = """
    import asyncio
    from hivemind import Node, responder

    class Worker(Node):
        @responder("work", workers=100)
        async def work(self, seconds: float):
            print(f"begin {seconds} in {self.instance}", flush=True)
            try:
                await asyncio.sleep(seconds)
            finally:
                print(f"end {seconds} in {self.instance}", flush=True)
            return self.instance

        @responder("many", stream=True)
        async def many(self, seconds: float):
            yield self.instance
            await asyncio.sleep(seconds)
            yield self.instance
"""


@pytest.fixture
def shop(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, server, hive_name) as made:
        made.write("worker.py", WORKER)
        yield made


@pytest.fixture
def client(shop: Workshop) -> Iterator[Client]:
    with connect(f"{shop.url}?hive={shop.hive}") as opened:
        yield opened


def workers(shop: Workshop, count: int) -> dict[str, NodeProcess]:
    """So many processes, by the instance that each became."""
    running = {}
    for number in range(count):
        running[f"worker.{number}"] = shop.run("worker.py")
        running[f"worker.{number}"].says("running: ")
    return running


def ask(client: Client, name: str, payload: Any, timeout: float = 20.0) -> Future[Any]:
    """Ask in the background."""
    assert client._loop is not None
    return asyncio.run_coroutine_threadsafe(client.bus.requests.request(name, payload, timeout), client._loop)


def holder(running: dict[str, NodeProcess], what: str) -> str:
    """The instance that has begun with something."""

    def found() -> list[str]:
        return [name for name, process in running.items() if what in process.output]

    return eventually(found, within=10)[0]


@pytest.mark.every_server
def test_what_a_killed_responder_had_another_does(shop: Workshop, client: Client) -> None:
    running = workers(shop, 2)
    reply = ask(client, "work", 1.5)
    first = holder(running, "begin 1.5")
    running[first].signal(signal.SIGKILL)
    second = reply.result(15)
    assert second != first
    assert running[second].output.count("begin 1.5") == 1


def test_when_the_only_one_is_killed_the_caller_learns_it_long_before_the_deadline(
    shop: Workshop, client: Client
) -> None:
    running = workers(shop, 1)
    reply = ask(client, "work", 40.0, timeout=60)
    holder(running, "begin 40")
    running["worker.0"].signal(signal.SIGKILL)
    with pytest.raises(RequestLost, match="who had it is gone, and nobody else answers"):
        reply.result(15)
    with pytest.raises(NoResponders):
        client.request("work", 1)


def test_a_stream_whose_responder_is_killed_in_the_middle_ends_with_an_error(shop: Workshop, client: Client) -> None:
    running = workers(shop, 2)
    parts = client.request_stream("many", 40.0, timeout=60)
    first = next(parts)
    running[first].signal(signal.SIGKILL)
    with pytest.raises(RequestLost, match="a part of the answer had come already"):
        next(parts)


def test_replies_that_have_all_come_are_taken_though_who_sent_them_has_died(shop: Workshop, client: Client) -> None:
    running = workers(shop, 1)
    whole, cut = (client.request_stream("many", seconds, timeout=60) for seconds in (0.0, 40.0))
    assert next(whole) == next(cut) == "worker.0"  # one after the other: all of the first has come
    running["worker.0"].signal(signal.SIGKILL)
    with pytest.raises(RequestLost):
        next(cut)
    assert list(whole) == ["worker.0"]


def test_a_frozen_responder_costs_only_what_it_had_and_begins_nothing_that_is_too_late(
    shop: Workshop, client: Client
) -> None:
    running = workers(shop, 2)
    running["worker.0"].signal(signal.SIGSTOP)
    asked = [ask(client, "work", 0.01, timeout=1.0) for _ in range(20)]
    outcomes = [one.exception(10) or one.result() for one in asked]
    late = [one for one in outcomes if isinstance(one, RequestTimeout)]
    assert outcomes.count("worker.1") == 20 - len(late) >= 9
    eventually(lambda: ask(client, "work", 0.02, timeout=1.0).result(5) == "worker.1", within=10)
    running["worker.0"].signal(signal.SIGCONT)
    eventually(lambda: ask(client, "work", 0.03).result(5) == "worker.0", within=10)
    assert "begin 0.01" not in running["worker.0"].output


def test_a_handler_past_its_deadline_is_cancelled_though_its_caller_is_dead(shop: Workshop) -> None:
    running = workers(shop, 1)
    code = f"""
        import hivemind

        with hivemind.connect("{shop.url}?hive={shop.hive}") as client:
            client.request("work", 40.0, timeout=2)
    """
    shop.write("ask.py", code)
    asking = shop.python("ask.py")
    holder(running, "begin 40.0")
    asking.signal(signal.SIGKILL)
    running["worker.0"].says("end 40.0", within=10)


# -- in one process


class Once(Node):
    """Counts how often it is called with what."""

    began: list[Any]

    @responder("once", workers=10)
    async def once(self, payload: list[float]) -> int:
        self.began.append(payload)
        await asyncio.sleep(payload[0])
        return self.began.count(payload)


@pytest.fixture
def own_hive(own_server: RedisServer) -> Iterator[HiveTest]:
    with HiveTest(own_server.url, "t") as hive:
        yield hive


class Large(Node):
    """Answers with much, and counts it."""

    yielded = 0

    @responder("large", stream=True)
    async def much(self, count: int) -> AsyncIterator[str]:
        for _ in range(count):
            self.yielded += 1
            yield "x" * 900_000


def test_large_replies_of_a_stream_come_a_few_at_a_time(own_hive: HiveTest) -> None:
    node = own_hive.start(Large)
    leads = [node.yielded - number for number, _ in enumerate(own_hive.request_stream("large", 60))]
    assert len(leads) == 60
    assert max(leads) < 20  # all 60, if they only were counted


def started(hive: HiveTest, count: int = 1) -> list[Once]:
    Once.began = []
    return [hive.start(Once) for _ in range(count)]


def cut(server: RedisServer, name: str) -> None:
    """Let Redis close all connections that are called so."""
    listed = [
        dict(word.split("=", 1) for word in line.split()) for line in server.command("CLIENT", "LIST").splitlines()
    ]
    for one in listed:
        if one["name"].partition("@")[0].endswith(name):
            server.command("CLIENT", "KILL", "ID", one["id"])


@pytest.mark.every_server
@pytest.mark.parametrize("link", [":live", ":req", ":out", ""])
def test_cut_connections_lose_no_request_and_run_none_twice(
    own_hive: HiveTest, own_server: RedisServer, link: str
) -> None:
    started(own_hive, 2)
    assert own_hive.request("once", [0.0, -1]) == 1
    asked = [ask(own_hive._client, "once", [0.5, number]) for number in range(10)]
    eventually(lambda: len(Once.began) >= 5)
    cut(own_server, link)
    assert [one.result(20) for one in asked] == [1] * 10


def test_requests_while_connections_are_cut_again_and_again_all_come_back(
    own_hive: HiveTest, own_server: RedisServer
) -> None:
    started(own_hive, 2)
    asked = []
    for number in range(60):
        asked.append(ask(own_hive._client, "once", [0.01, number], timeout=30))
        if number % 10 == 5:
            cut(own_server, (":live", ":req", "")[number % 3])
    assert [one.result(30) for one in asked] == [1] * 60


@pytest.mark.every_server
@pytest.mark.parametrize("keep_data", [True, False])
def test_redis_restarted_under_way_hangs_nobody_and_all_goes_on(
    own_hive: HiveTest, own_server: RedisServer, keep_data: bool
) -> None:
    started(own_hive, 2)
    asked = [ask(own_hive._client, "once", [0.3, number], timeout=8) for number in range(10)]
    eventually(lambda: len(Once.began) == 10)
    own_server.restart(keep_data=keep_data, kill=True)
    outcomes = [one.exception(15) or one.result() for one in asked]
    assert all(one == 1 or isinstance(one, RequestError) for one in outcomes)
    assert all(Once.began.count(one) == 1 for one in Once.began)

    def answers() -> bool:
        try:
            return bool(own_hive.request("once", [0.0, time.monotonic()]) == 1)
        except RequestError:
            return False

    eventually(answers, within=15)


@pytest.mark.every_server
def test_redis_forgetting_everything_loses_no_request_under_way(own_hive: HiveTest, own_server: RedisServer) -> None:
    started(own_hive, 2)
    asked = [ask(own_hive._client, "once", [0.5, number]) for number in range(10)]
    eventually(lambda: len(Once.began) == 10)
    own_server.command("FLUSHALL")
    own_server.command("FUNCTION", "FLUSH")
    assert [one.result(20) for one in asked] == [1] * 10

    def answers() -> bool:
        try:
            return bool(own_hive.request("once", [0.0, time.monotonic()]) == 1)
        except RequestError:
            return False

    eventually(answers, within=15)


def test_what_a_living_responder_has_is_not_begun_again_while_it_comes_back_after_redis_forgot(
    own_hive: HiveTest, own_server: RedisServer
) -> None:
    nodes = started(own_hive, 2)
    asked = ask(own_hive._client, "once", [0.2, 0], timeout=20)
    holder = eventually(lambda: [one for one in nodes if one.bound_responders[0].in_hand])[0]
    own_hive.freeze(holder)
    own_server.command("FLUSHALL")
    eventually(lambda: own_server.command("ZCARD", Names("t").responders("once")) == 1, within=15)
    for number in range(1, 8):  # meanwhile the caller looks who has it
        assert own_hive.request("once", [0.2, number]) == 1
    own_hive.thaw(holder)
    assert asked.result(20) == 1
    assert Once.began.count([0.2, 0]) == 1


def test_what_comes_when_its_time_is_over_is_not_begun(own_hive: HiveTest, own_server: RedisServer) -> None:
    (node,) = started(own_hive)
    channel = node.bus.names.request("once", f"{node.instance}.e{node.bus.incarnation}")
    request = {"v": 1, "n": "x.0", "e": 1, "s": 1, "d": [0.0, 1], "m": "one", "h": {"reply": "hm:t:i:x"}}
    late = request | {"at": time.time() - 60, "budget": 1000, "try": 1}
    own_server.command("PUBLISH", channel, orjson.dumps(late))
    own_server.command("PUBLISH", channel, orjson.dumps(late | {"at": time.time(), "s": 2}))
    eventually(lambda: node.bound_responders[0].handled == 1)
    eventually(lambda: node.bus.requests.answering._posts["once"]._in_hand == {})
    assert Once.began == [[0.0, 1]]


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_was_set_cuts_no_request_short(own_hive: HiveTest, hours: int) -> None:
    (node,) = started(own_hive)
    node.bus.requests.answering._distance += 3600 * hours
    assert own_hive.request("once", [0.0, 1], timeout=2) == 1


def test_garbage_stops_nobody(own_hive: HiveTest, own_server: RedisServer) -> None:
    (node,) = started(own_hive)
    assert own_hive.request("once", [0.0, 1]) == 1
    who, member = node.bus.names.responders("once"), f"{node.instance}.e{node.bus.incarnation}"
    inbox = own_hive._client.bus.requests.forms.inbox
    for text in ("", "x", "[]", "{}", '{"k":"reply"}', '{"k":[],"q":[]}', '{"k":"whose","reply":1,"q":{}}', "7"):
        for channel in (node.bus.names.request("once", member), inbox):
            own_server.command("PUBLISH", channel, text)
    own_server.command("PUBLISH", inbox, '{"k":"unknown","q":[[1,1],[2],3,"x"],"member":[]}')
    own_server.command("ZADD", who, -5, "nonsense", 0, "nobody.7.e5")
    assert own_hive.request("once", [0.0, 2]) == 1
    assert own_server.command("ZRANGE", who, 0, -1) == [member]
    own_server.command("SET", who, "not a sorted set")
    eventually(lambda: own_server.command("TYPE", who) == "zset", within=10)
    assert own_hive.request("once", [0.0, 3]) == 1


def test_two_nodes_of_a_process_cannot_have_the_same_name(own_hive: HiveTest) -> None:
    (node,) = started(own_hive)
    with pytest.raises(ConfigurationError, match="another node of this process answers to it"):
        own_hive._client.call(node.bus.requests.answering.serve("once", node.bound_responders[0]))


def test_threads_may_ask_all_at_once(own_hive: HiveTest) -> None:
    started(own_hive, 2)
    replies: list[Any] = []

    def work(first: int) -> None:
        replies.extend(own_hive.request("once", [0.0, number], timeout=20) for number in range(first, first + 50))

    threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert replies == [1] * 500


async def test_that_a_lease_was_gone_long_ago_says_nothing_when_it_is_gone_again(server: RedisServer) -> None:
    clock, names = Clock(), Names("gone")
    async with Commands(Endpoint.parse(server.url)) as commands:
        responders = Responders(commands, Functions(commands), names)
        with clock.installed():
            assert await responders.ended(["a.0.e1"]) == set()
            clock.ahead += 600.0  # nobody asked meanwhile: it was back, for all that is known
            assert await responders.ended(["a.0.e1"]) == set()
            for _ in range(4):
                clock.ahead += 1.0
                found = await responders.ended(["a.0.e1"])
            assert found == {"a.0.e1"}


async def test_a_responder_that_redis_refuses_at_first_is_there_as_soon_as_it_does_not(own_server: RedisServer) -> None:
    names = Names("t")
    own_server.command("HSET", names.node("abacus.0"), "incarnation", 7)
    own_server.command("ACL", "SETUSER", "default", "-zadd")
    answerer: Any = SimpleNamespace(in_hand=0)
    async with Bus(Endpoint.parse(own_server.url), "t", "abacus.0") as bus:
        bus.identify("abacus.0", 7)
        bus.requests.start()
        with pytest.raises(RedisError):
            await bus.requests.answering.serve("sum", answerer)
        own_server.command("ACL", "SETUSER", "default", "+zadd")
        await bus.requests.answering.serve("sum", answerer)
        assert own_server.command("ZRANGE", names.responders("sum"), 0, -1) == ["abacus.0.e7"]
