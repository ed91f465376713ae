"""``connect()``: what scripts and web applications send, from threads, processes and loops."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import pytest

import hivemind
from hivemind import HivemindError, Node, RedisUnavailable, Service, service, subscription
from hivemind.client.awaited import AsyncClient, AsyncMessages, AsyncReplies
from hivemind.client.client import Client
from hivemind.client.messages import Messages
from hivemind.node.requesting import RequestStream
from hivemind.testing import HiveTest

from .servers import RedisServer
from .waiting import eventually


@pytest.fixture
def url(server: RedisServer, hive_name: str) -> str:
    return f"{server.url}{'&' if '?' in server.url else '?'}hive={hive_name}"


def stored(server: RedisServer, hive_name: str, topic: str = "order") -> list[object]:
    """The payloads in a topic's stream."""
    entries = server.command("XRANGE", f"hm:{hive_name}:s:{{{topic}}}", "-", "+")
    return [orjson.loads(fields[1])["d"] for _, fields in entries]


def test_what_a_script_sends_durably_is_kept_in_order(url: str, server: RedisServer, hive_name: str) -> None:
    with hivemind.connect(url) as hive:
        for number in range(500):
            hive.send("order", number, durable=True)
        hive.flush()
        assert stored(server, hive_name) == [*range(500)]


def test_flush_waits_for_the_first_message_on_a_topic(url: str, server: RedisServer, hive_name: str) -> None:
    with hivemind.connect(url) as hive:
        for number in range(5):
            hive.send("order", number, durable=True)
            hive.flush()
            assert stored(server, hive_name) == [*range(number + 1)]


def test_what_a_client_sends_reaches_a_node_that_reads_later(hive: HiveTest) -> None:
    class Shop(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload: str) -> None:
            self.send("packed", payload)

    hive.send("order", "tea", durable=True)
    hive.start(Shop)
    assert hive.expect("packed", timeout=10).payload == "tea"


def test_on_a_topic_that_the_hive_keeps_a_client_needs_no_word(hive: HiveTest) -> None:
    class Till(Node):
        @service("order", durable=True, every=3600)
        def sell(self, service: Service) -> None: ...

    class Shop(Node):
        @subscription("order", durable=True)
        async def pack(self, payload: str, message: hivemind.Message) -> None:
            self.send("packed", [payload, message.sender.startswith("client-")])

    hive.start(Till)
    hive.start(Shop)
    eventually(lambda: "order" in hive._client._opened.posting._known)
    hive.send("order", "tea")
    assert hive.expect("packed", timeout=10).payload == ["tea", True]


async def test_on_the_loop_a_client_sends_durably_too(url: str, server: RedisServer, hive_name: str) -> None:
    async with hivemind.connect(url) as hive:
        hive.send("order", "tea", durable=True)
        await hive.flush()
        assert stored(server, hive_name) == ["tea"]


def test_a_client_opens_when_it_is_first_used_by_any_thread(url: str, server: RedisServer, hive_name: str) -> None:
    hive = hivemind.connect(url)

    def sell(number: int) -> None:
        hive.send("order", number, durable=True)
        hive.flush()

    threads = [threading.Thread(target=sell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, stored(server, hive_name))) == [str(number) for number in range(8)]
    assert len([one for one in threading.enumerate() if one.name == "hivemind client"]) == 1
    hive.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_each_forked_process_opens_its_own(url: str, server: RedisServer, hive_name: str) -> None:
    hive = hivemind.connect(url)
    send(hive, "parent")
    child = os.fork()
    if not child:
        code = 1
        try:
            send(hive, "child")
            hive.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    send(hive, "parent again")
    assert stored(server, hive_name) == ["parent", "child", "parent again"]
    hive.close()


def send(hive: Client, payload: str) -> None:
    hive.send("order", payload, durable=True)
    hive.flush()


def test_what_was_sent_is_flushed_when_the_process_exits(url: str, server: RedisServer, hive_name: str) -> None:
    code = f"import hivemind; hivemind.connect({url!r}).send('order', 'tea', durable=True)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert stored(server, hive_name) == ["tea"]


async def test_on_a_loop_a_client_does_not_open_by_itself(url: str) -> None:
    with pytest.raises(HivemindError, match="write `async with connect"):
        hivemind.connect(url).send("order", "tea")


def test_a_client_that_was_closed_says_so(url: str) -> None:
    with hivemind.connect(url) as hive:
        pass
    with pytest.raises(HivemindError, match="the client is closed"):
        hive.send("order", "tea")


def test_a_client_that_could_not_open_tries_again_when_it_is_used_again() -> None:
    hive = hivemind.connect("redis://127.0.0.1:1", timeout=0.3)
    for _ in range(2):
        with pytest.raises(RedisUnavailable):
            hive.send("order", "tea")


def test_an_error_says_why_redis_cannot_be_reached_and_which_folder_is_no_hive(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailable, match=r"no answer within 0\.3 s \(.*[Rr]efused.*\)"):
        hivemind.connect("redis://127.0.0.1:1", timeout=0.3).flush()
    with pytest.raises(hivemind.HivemindError, match=f"connect: folder {tmp_path}: there is no hive"):
        hivemind.connect(tmp_path).flush()


def test_a_client_carries_headers(hive: HiveTest) -> None:
    with hive._client.carrying(correlation="7"):
        hive.send("order", "tea")
    assert hive.expect("order").headers == {"correlation": "7"}


def test_durable_topics_are_announced_again_when_redis_has_lost_them(own_server: RedisServer) -> None:
    with hivemind.connect(own_server.url) as hive:
        send(hive, "tea")
        own_server.command("FLUSHALL")
        send(hive, "milk")
        eventually(lambda: own_server.command("HGET", "hm:{default}:kept", "order"), within=10)
        assert stored(own_server, "default") == ["milk"]


async def test_on_the_loop_receive_is_awaited_and_keeps_its_timeout(url: str) -> None:
    async with hivemind.connect(url) as hive, hive.subscribe("order") as orders:
        assert await orders.receive(timeout=0.05) is None
        hive.send("order", "tea")
        message = await orders.receive(timeout=10)
        assert message is not None
        assert message.payload == "tea"


async def test_what_would_block_the_loop_for_ever_says_what_to_write(url: str) -> None:
    async with hivemind.connect(url) as hive, hive.subscribe("order") as orders:
        with pytest.raises(HivemindError, match="write `async for`"):
            next(orders)  # type: ignore[call-overload]
        with pytest.raises(HivemindError, match="write `async with`"):
            hive.subscribe("order").__enter__()  # type: ignore[attr-defined]


def test_a_subscription_without_with_subscribes_when_it_is_first_used(url: str) -> None:
    listening = hivemind.connect(url).subscribe("order")
    assert listening.receive(timeout=0.01) is None
    with hivemind.connect(url) as hive:
        hive.send("order", "tea")
        message = listening.receive(timeout=10)
        assert message is not None
        assert message.payload == "tea"
    listening.client.close()
    with pytest.raises(HivemindError, match="the client is closed"):
        listening.receive(timeout=10)


def test_a_subscription_without_with_iterates_over_what_is_kept(url: str) -> None:
    with hivemind.connect(url) as hive:
        send(hive, "tea")
        assert next(hive.subscribe("order", since=1)).payload == "tea"


def test_a_subscription_that_was_left_does_not_subscribe_again(url: str) -> None:
    with hivemind.connect(url) as hive:
        with hive.subscribe("order") as orders:
            pass
        assert orders.receive(timeout=10) is None


class Packer(Node):
    """Reads durably what nobody keeps."""

    @subscription("order.*", durable=True)
    async def pack(self, payload: str) -> None:
        self.send("packed", payload)


def unkept(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [one.getMessage() for one in caplog.records if one.name == "hivemind.client"]
    return [one for one in said if "is not kept" in one]


def test_who_sends_live_what_a_group_reads_durably_is_warned_once_a_topic(
    hive: HiveTest, caplog: pytest.LogCaptureFixture
) -> None:
    hive.start(Packer)
    for topic in ("order.new", "order.new", "weather"):
        hive.send(topic, "tea")
        hive._client.flush()
    (said,) = unkept(caplog)
    assert said.startswith("order.new is not kept, but group packer reads it durably, and gets nothing")
    assert "send(..., durable=True)" in said
    assert "hm pub --durable" in said


def test_what_is_sent_durably_warns_nobody_and_is_handled(hive: HiveTest, caplog: pytest.LogCaptureFixture) -> None:
    hive.start(Packer)
    hive.send("order.new", "tea", durable=True)
    assert hive.expect("packed", timeout=10).payload == "tea"
    assert not unkept(caplog)


def test_what_is_not_confirmed_says_why_redis_does_not_answer(own_server: RedisServer) -> None:
    with hivemind.connect(own_server.url) as hive:
        own_server.kill()
        hive.send("order", "tea")
        with pytest.raises(hivemind.Unconfirmed, match=r"for 1 message within 1 s: .*([Rr]efused|closed|No such)"):
            hive.flush(timeout=1.0)
        own_server.start()


@pytest.mark.parametrize(
    ("said", "real"), [(AsyncClient, Client), (AsyncMessages, Messages), (AsyncReplies, RequestStream)]
)
def test_what_type_checkers_see_on_the_loop_is_what_there_is(said: type, real: type) -> None:
    for name, method in vars(said).items():
        if inspect.isfunction(method) and name not in ("__init__", "__subclasshook__"):
            wanted, found = (list(inspect.signature(each).parameters) for each in (method, getattr(real, name)))
            assert (name, wanted) == (name, found)


async def _mypy_sees_what_is_forgotten(url: str) -> None:
    """Never called: mypy complains of each remark here that it does not need."""
    async with hivemind.connect(url) as loop, loop.subscribe("order") as orders:
        loop.flush()  # type: ignore[unused-coroutine]
        loop.request("sum")  # type: ignore[unused-coroutine]
        orders.receive()  # type: ignore[unused-coroutine]
        await loop.flush()
    with hivemind.connect(url) as thread:
        await thread.flush()  # type: ignore[func-returns-value, misc]
        thread.flush()
