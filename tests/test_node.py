"""What a node does with what is declared: services, subscriptions, payloads, hooks, the stop."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hivemind import AsyncService, DeclarationError, HivemindError, Message, Node, Service, service, subscription
from hivemind.testing import HiveTest
from tests.waiting import eventually


def test_the_class_form_of_the_original_documentation_works(hive: HiveTest) -> None:
    class Classic(Node):
        def services(self) -> None:
            self._signal = self.add_service(name="bat-signal-main", function=self._send)

        def subscriptions(self) -> None:
            self.add_subscription(name="bat-signal-*", function=self._receive)

        def _send(self, service: Service) -> int:
            service.send("Batman! We need help!")
            service.sleep_for(0.05)
            return 0

        def _receive(self, payload: Any) -> int:
            self.send("saved", payload)
            return 0

    hive.start(Classic)
    assert hive.expect("saved", timeout=5).payload == "Batman! We need help!"


def test_a_service_function_without_parameter_uses_the_service_it_kept(hive: HiveTest) -> None:
    class Classic(Node):
        def services(self) -> None:
            self._mine = self.add_service("my-service", self._send)

        def _send(self) -> int:
            self._mine.send("A Message For More!")
            if not self._mine.sleep_for(0.05):
                return 0
            return 0

    hive.start(Classic)
    assert hive.expect("my-service", timeout=5).payload == "A Message For More!"


def test_async_services_and_handlers_run_on_the_loop(hive: HiveTest) -> None:
    class Modern(Node):
        @service("tick", every=0.05)
        async def tick(self, service: AsyncService) -> None:
            service.send(self.is_on_loop)
            await service.drain()

        @subscription("tick")
        async def tock(self, payload: bool) -> None:
            self.send("tock", [payload, self.is_on_loop])

    hive.start(Modern)
    assert hive.expect("tock", timeout=5).payload == [True, True]


def test_plain_services_and_handlers_run_on_threads(hive: HiveTest) -> None:
    class Classic(Node):
        @service("tick", every=0.05)
        def tick(self, service: Service) -> None:
            service.send(self.is_on_loop)
            service.flush()

        @subscription("tick")
        def tock(self, payload: bool) -> None:
            self.send("tock", [payload, self.is_on_loop])

    hive.start(Classic)
    assert hive.expect("tock", timeout=5).payload == [False, False]


def test_a_handler_gets_message_and_node_if_it_names_them(hive: HiveTest) -> None:
    class Curious(Node):
        @subscription("q.?")
        def ask(self, payload: int, message: Message, node: Node) -> None:
            self.send("answer", [payload, message.topic, message.sequence, node is self])

    hive.start(Curious)
    hive.send("q.a", 7)
    assert hive.expect("answer", timeout=5).payload == [7, "q.a", 1, True]


def test_a_payload_that_does_not_fit_is_counted_and_reaches_no_handler(
    hive: HiveTest, caplog: pytest.LogCaptureFixture
) -> None:
    @dataclass
    class Reading:
        celsius: float

    class Typed(Node):
        @subscription("reading")
        def read(self, payload: Reading) -> None:
            self.send("got", payload)

    # The annotation is a local class: bind it by hand, as get_type_hints cannot see it.
    Typed.read.__annotations__["payload"] = Reading
    node = hive.start(Typed)
    hive.send("reading", {"celsius": "warm"})
    hive.send("reading", {"celsius": 21.5})
    assert hive.expect("got", timeout=5).payload == {"celsius": 21.5}
    assert node.bound_subscriptions[0].record().invalid == 1
    assert "payload.celsius" in caplog.text


def test_a_handler_that_raises_is_counted_and_the_next_message_is_handled(hive: HiveTest) -> None:
    class Shaky(Node):
        @subscription("n")
        async def handle(self, payload: int) -> None:
            self.send("ok", 1 // payload)

    node = hive.start(Shaky)
    for number in (0, 1):
        hive.send("n", number)
    hive.expect("ok", timeout=5)
    record = node.bound_subscriptions[0].record()
    assert (record.failed, record.handled) == (1, 1)
    assert "ZeroDivisionError" in record.error


def test_a_service_that_raises_is_called_again(hive: HiveTest) -> None:
    calls: list[int] = []

    class Shaky(Node):
        @service("n", every=0.01)
        def count(self, service: Service) -> None:
            calls.append(1)
            if len(calls) == 1:
                raise OSError("sensor is gone")
            service.send(len(calls))

    node = hive.start(Shaky)
    hive.expect("n", timeout=5)
    assert node.bound_services[0].record().restarts == 1
    assert "sensor is gone" in node.bound_services[0].record().error


@pytest.mark.parametrize("result", [1, 7, -1])
def test_a_service_that_returns_another_int_is_finished(hive: HiveTest, result: int) -> None:
    class Once(Node):
        @service("n")
        def send_one(self, service: Service) -> int:
            service.send(1)
            return result

    node = hive.start(Once)
    hive.expect("n", timeout=5)
    eventually(lambda: node.bound_services[0].state == "finished")
    hive.expect_none("n")


@pytest.mark.parametrize("result", ["text", True, 1.5, [1]])
def test_a_service_that_returns_something_else_is_told_to_send_it(hive: HiveTest, result: object) -> None:
    class Wrong(Node):
        @service("n")
        def give(self) -> object:
            return result

    node = hive.start(Wrong)
    eventually(lambda: "send it" in node.bound_services[0].record().error)


def test_a_service_that_never_waits_is_slowed_and_told_so_once(
    hive: HiveTest, caplog: pytest.LogCaptureFixture
) -> None:
    class Busy(Node):
        @service("n")
        def spin(self) -> None:
            pass

    hive.start(Busy)
    eventually(lambda: "is slowed" in caplog.text)
    assert caplog.text.count("is slowed") == 1


def test_sleep_for_returns_false_at_once_when_the_node_stops(hive: HiveTest) -> None:
    slept: list[bool] = []
    asleep = threading.Event()

    class Sleeper(Node):
        @service("n")
        def sleep(self, service: Service) -> None:
            asleep.set()
            slept.append(service.sleep_for(60))
            slept.append(service.sleep_for(60))

    node = hive.start(Sleeper)
    assert asleep.wait(5)
    hive.stop(node)
    assert slept == [False, False]


def test_hooks_run_once_and_in_order(hive: HiveTest) -> None:
    calls: list[str] = []

    class Hooked(Node):
        def services(self) -> None:
            calls.append("services")

        def subscriptions(self) -> None:
            calls.append("subscriptions")

        def metadata(self) -> dict[str, str]:
            calls.append("metadata")
            return {"floor": "3"}

        async def on_start(self) -> None:
            calls.append("on_start")

        def on_shutdown(self) -> None:
            calls.append("on_shutdown")
            self.send("bye", 1)

    hive.stop(hive.start(Hooked))
    assert calls == ["services", "subscriptions", "metadata", "on_start", "on_shutdown"]
    assert hive.expect("bye", timeout=5).payload == 1


def test_what_was_received_is_handled_before_the_node_stops(hive: HiveTest) -> None:
    handled: list[int] = []
    gate = threading.Event()

    class Slow(Node):
        @subscription("n")
        def handle(self, payload: int) -> None:
            gate.wait(5)
            handled.append(payload)

    node = hive.start(Slow)
    for number in range(100):
        hive.send("n", number)
    eventually(lambda: node.bound_subscriptions[0].record().received == 100)
    gate.set()
    hive.stop(node)
    assert handled == list(range(100))


def test_a_slow_handler_does_not_delay_the_others(hive: HiveTest) -> None:
    gate = threading.Event()

    class Two(Node):
        @subscription("n")
        def slow(self, payload: int) -> None:
            gate.wait(10)

        @subscription("*")
        async def quick(self, payload: int) -> None:
            if payload:
                self.send("quick", 0)

    hive.start(Two)
    hive.send("n", 1)
    hive.expect("quick", timeout=5)
    gate.set()


def test_an_author_may_call_what_is_his_like_anything_that_is_not_documented(hive: HiveTest) -> None:
    class Mine(Node):
        def __init__(self) -> None:
            super().__init__()
            self.state, self.stats, self.components, self.chain = {"seen": 0}, 1, 2, 3
            self._bus, self._loop, self._settings, self._registry = 4, 5, 6, 7

        @subscription("n")
        async def call(self, payload: int) -> None:
            self.state["seen"] += payload
            self.send("seen", self.state["seen"])

    hive.start(Mine)
    hive.send("n", 7)
    assert hive.expect("seen", timeout=5).payload == 7


def test_a_node_has_nothing_but_what_is_documented() -> None:
    names = {name for name in dir(Node("robin")) if not name.startswith(("__", "_hm", "_abc"))}
    page = (
        Path("docs/model.md").read_text(encoding="utf-8").partition("## The names of a node")[2].partition("\n## ")[0]
    )
    assert names == set(re.findall(r"`(\w+)`", page.partition("|---|")[2]))


def test_several_workers_handle_at_once(hive: HiveTest) -> None:
    barrier = threading.Barrier(3)

    class Many(Node):
        @subscription("n", workers=3)
        def handle(self, payload: int) -> None:
            barrier.wait(5)
            self.send("done", payload)

    hive.start(Many)
    for number in range(3):
        hive.send("n", number)
    assert {hive.expect("done", timeout=5).payload for _ in range(3)} == {0, 1, 2}


def test_overlapping_patterns_deliver_once_to_each_subscription(hive: HiveTest) -> None:
    class Overlap(Node):
        @subscription("a.*")
        @subscription("a.b")
        @subscription("*.b")
        async def handle(self, payload: int) -> None:
            self.send("got", payload)

    node = hive.start(Overlap)
    hive.send("a.b", 1)
    for _ in range(3):
        hive.expect("got", timeout=5)
    assert [one.record().handled for one in node.bound_subscriptions] == [1, 1, 1]


def test_a_component_lives_and_dies_with_its_node(hive: HiveTest) -> None:
    calls: list[str] = []

    class Pool:
        async def start(self, node: Any) -> None:
            calls.append(f"start {node.instance}")

        async def stop(self, node: Any) -> None:
            calls.append("stop")

    node = Node("host")
    node.attach(Pool())
    hive.start(node)
    hive.stop(node)
    assert calls == ["start host.0", "stop"]


@pytest.mark.parametrize(
    "function",
    [lambda: None, lambda one, two: None, lambda payload, *, other: None],
    ids=["nothing to take", "two payloads", "an unknown keyword"],
)
def test_a_handler_that_cannot_be_called_is_refused_when_it_is_declared(function: Callable[..., Any]) -> None:
    with pytest.raises(DeclarationError, match="payload"):
        Node("n").add_subscription("a", function)


def test_sending_before_the_node_runs_says_so() -> None:
    with pytest.raises(HivemindError, match="not running"):
        Node("n").send("a", 1)


def test_a_node_that_does_not_end_in_time_is_abandoned_with_its_stack(
    hive: HiveTest, caplog: pytest.LogCaptureFixture
) -> None:
    gate, inside = threading.Event(), threading.Event()

    class Stuck(Node):
        @service("n")
        def hang(self) -> None:
            inside.set()
            gate.wait(30)

    node = hive.start(Stuck)
    assert inside.wait(5)
    hive.stop(node)
    assert "service n did not stop" in caplog.text
    assert "gate.wait(30)" in caplog.text
    gate.set()


def test_a_busy_async_handler_gives_the_loop_back(hive: HiveTest) -> None:
    class Busy(Node):
        @subscription("n")
        async def burn(self, payload: int) -> None:
            sum(range(20_000))

    node = hive.start(Busy)
    for number in range(2000):
        node.send("n", number)
    longest = 0.0

    async def measure() -> float:
        loop = asyncio.get_running_loop()
        worst = 0.0
        while node.bound_subscriptions[0].handled < 2000:
            began = loop.time()
            await asyncio.sleep(0)
            worst = max(worst, loop.time() - began)
        return worst

    assert node._hm._loop is not None
    longest = asyncio.run_coroutine_threadsafe(measure(), node._hm._loop).result(30)
    assert longest < 0.25
