"""What ends nothing: functions that call ``sys.exit()``, await a task that they cancelled themselves, or raise what
is no ``Exception``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind import Message, Node, RemoteError, Service, responder, service, subscription
from hivemind.testing import HiveTest
from tests.node_kit import Workshop, workshop
from tests.servers import RedisServer
from tests.waiting import eventually


async def await_what_was_cancelled() -> None:
    task = asyncio.create_task(asyncio.sleep(10))
    task.cancel()
    await task


@pytest.fixture
def shop(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, server, hive_name) as made:
        yield made


class AsyncHandler(Node):
    @subscription("n")
    async def handle(self, payload: int) -> None:
        if payload == 0:
            await await_what_was_cancelled()
        if payload == 1:
            sys.exit(3)
        self.send("ok", payload)


class ThreadHandler(Node):
    @subscription("n")
    def handle(self, payload: int) -> None:
        if payload < 2:
            sys.exit(3)
        self.send("ok", payload)


@pytest.mark.parametrize("node_class", [AsyncHandler, ThreadHandler])
def test_a_handler_that_exits_or_awaits_what_it_cancelled_has_failed_like_any_other(
    hive: HiveTest, node_class: type[Node], caplog: pytest.LogCaptureFixture
) -> None:
    node = hive.start(node_class)
    for number in range(3):
        hive.send("n", number)
    assert hive.expect("ok", timeout=5).payload == 2
    eventually(lambda: node.bound_subscriptions[0].record().handled == 1)  # a thread sends before it counts
    record = node.bound_subscriptions[0].record()
    assert record.failed == 2
    assert record.error == "SystemExit: 3"
    assert "failed on a message of n" in caplog.text


def services() -> list[type[Node]]:
    calls: list[int] = []

    class AsyncService(Node):
        @service("n", every=0.01)
        async def count(self, service: Service) -> None:
            calls.append(1)
            if len(calls) == 1:
                await await_what_was_cancelled()
            service.send(1)

    class AsyncExit(Node):
        @service("n", every=0.01)
        async def count(self, service: Service) -> None:
            calls.append(1)
            if len(calls) == 1:
                sys.exit("enough")
            service.send(1)

    class ThreadExit(Node):
        @service("n", every=0.01)
        def count(self, service: Service) -> None:
            calls.append(1)
            if len(calls) == 1:
                sys.exit("enough")
            service.send(1)

    return [AsyncService, AsyncExit, ThreadExit]


@pytest.mark.parametrize("which", range(3))
def test_a_service_that_exits_or_awaits_what_it_cancelled_is_called_again(hive: HiveTest, which: int) -> None:
    node = hive.start(services()[which])
    hive.expect("n", timeout=5)
    record = node.bound_services[0].record()
    assert record.restarts == 1
    assert record.error.startswith(("SystemExit: enough", "CancelledError"))


@pytest.mark.parametrize("what", ["raise SystemExit(0)", "raise asyncio.CancelledError"])
def test_a_node_whose_on_start_exits_says_so_and_exits_with_1(shop: Workshop, what: str) -> None:
    shop.write(
        "bad.py",
        f"""
        import asyncio
        from hivemind import Node

        class Bad(Node):
            async def on_start(self):
                {what}
    """,
    )
    node = shop.run("bad.py")
    assert node.ends() == 1
    assert "bad.0 cannot start" in node.output or "bad cannot start" in node.output
    assert what.split()[1].split("(", maxsplit=1)[0].rpartition(".")[2] in node.output


class Panic(BaseException):
    """As Rust's panics: no Exception."""


class Panicking(Node):
    @subscription("async", durable=True, since="all", retries=1, backoff=(0.01, 0.01))
    async def on_the_loop(self, payload: int, message: Message) -> None:
        self.answer("async", message)

    @subscription("thread", durable=True, since="all", retries=1, backoff=(0.01, 0.01))
    def on_a_thread(self, payload: int, message: Message) -> None:
        self.answer("thread", message)

    @subscription("live-async")
    async def live(self, payload: int, message: Message) -> None:
        self.answer("live-async", message)

    @subscription("live-thread")
    def live_thread(self, payload: int, message: Message) -> None:
        self.answer("live-thread", message)

    def answer(self, what: str, message: Message) -> None:
        if message.payload == 0:
            raise Panic
        self.send("ok", what)

    @responder("ask")
    async def ask(self, payload: int) -> None:
        raise Panic

    @responder("ask-thread")
    def ask_thread(self, payload: int) -> None:
        raise Panic


@pytest.mark.parametrize("topic", ["async", "thread", "live-async", "live-thread"])
def test_what_is_no_exception_ends_no_worker(hive: HiveTest, topic: str) -> None:
    hive.start(Panicking)
    for number in range(2):
        hive.send(topic, number, durable="live" not in topic)
    assert hive.expect("ok", timeout=5).payload == topic


@pytest.mark.parametrize("name", ["ask", "ask-thread"])
def test_who_asks_is_told_of_what_is_no_exception(hive: HiveTest, name: str) -> None:
    hive.start(Panicking)
    for _ in range(2):
        with pytest.raises(RemoteError, match="Panic"):
            hive.request(name, 1)
