"""Middleware: what happens around each message, in which order, and what travels with it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from hivemind import (
    ConfigurationError,
    DeclarationError,
    Handling,
    Middleware,
    Node,
    RemoteError,
    Sending,
    Service,
    Skip,
    resource,
    responder,
    service,
    subscription,
)
from hivemind.constants import Constants
from hivemind.testing import HiveTest

from .waiting import eventually

HEARD: list[str] = []  # what hooks and handlers of a test did, in order


@pytest.fixture(autouse=True)
def nothing_heard() -> Iterator[None]:
    HEARD.clear()
    yield
    HEARD.clear()


class Told(Middleware):
    """Tells what happens."""

    def __init__(self, name: str = "hive") -> None:
        self.name = name

    def on_start(self, node: Any) -> None:
        HEARD.append(f"{self.name} starts {node.name}")

    def on_shutdown(self, node: Any) -> None:
        HEARD.append(f"{self.name} shuts {node.name}")

    def before_send(self, sending: Sending) -> None:
        HEARD.append(f"{self.name} before send {sending.topic} {sending.payload}")

    def after_send(self, sending: Sending, error: BaseException | None) -> None:
        HEARD.append(f"{self.name} after send {error!r}")

    def before_handle(self, handling: Handling) -> None:
        HEARD.append(f"{self.name} before {handling.handler} {handling.message.topic}")

    def after_handle(self, handling: Handling, error: BaseException | None) -> None:
        HEARD.append(f"{self.name} after {error!r}")


class Shouting(Middleware):
    def before_send(self, sending: Sending) -> None:
        sending.payload = sending.payload.upper()
        sending.headers["mood"] = "loud"


class Batman(Node):
    middleware = (Told("one"), Told("two"))

    def on_start(self) -> None:
        HEARD.append("node starts")

    @subscription("bat-signal")
    async def save(self, payload: str) -> None:
        HEARD.append(f"handled {payload}")
        self.send("alert", payload)


def test_hooks_run_in_order_and_in_reverse_after(hive: HiveTest) -> None:
    hive.start(Batman)
    hive.send("bat-signal", "help")
    hive.expect("alert")
    eventually(lambda: len(HEARD) >= 12)
    assert [
        *("one starts batman", "two starts batman", "node starts"),
        *("one before Batman.save bat-signal", "two before Batman.save bat-signal", "handled help"),
        *("one before send alert help", "two before send alert help", "two after send None", "one after send None"),
        *("two after None", "one after None"),
    ] == HEARD


def test_what_the_hive_declares_comes_before_what_the_node_declares(hive_server: str) -> None:
    with HiveTest(hive_server, "told", {"MIDDLEWARE": [f"{__name__}:Told"]}) as hive:
        node = hive.start(Batman)
        hive.stop(node)
    assert HEARD[:4] == ["hive starts batman", "one starts batman", "two starts batman", "node starts"]
    assert HEARD[-3:] == ["two shuts batman", "one shuts batman", "hive shuts batman"]


def test_a_hook_can_change_payload_and_headers_on_the_way_out(hive: HiveTest) -> None:
    class Signal(Node):
        middleware = (Shouting,)

        @service("bat-signal", every=60)
        def signal(self, service: Service) -> None:
            service.send("help")

    hive.start(Signal)
    message = hive.expect("bat-signal", timeout=5)
    assert (message.payload, message.headers["mood"]) == ("HELP", "loud")


def test_a_hook_that_skips_keeps_a_message_from_being_sent(hive: HiveTest) -> None:
    class Quiet(Middleware):
        def before_send(self, sending: Sending) -> None:
            if sending.payload == "secret":
                raise Skip("nobody's business")

    class Signal(Node):
        middleware = (Told("one"), Quiet)

        def on_start(self) -> None:
            self.send("news", "secret")
            self.send("news", "open")

    hive.start(Signal)
    assert hive.expect("news").payload == "open"
    assert 'one after send Skip("nobody\'s business")' in HEARD
    assert [one.payload for one in hive.seen] == ["open"]


def test_an_exception_in_a_hook_around_sending_is_raised_at_send(hive: HiveTest) -> None:
    class Broken(Middleware):
        def before_send(self, sending: Sending) -> None:
            raise ValueError("no")

    class Signal(Node):
        middleware = (Told("one"), Broken)

    node = hive.start(Signal)
    with pytest.raises(ValueError, match="no"):
        node.send("news", "x")
    assert HEARD[-1] == "one after send ValueError('no')"


def around(before: Callable[[Handling], Any]) -> type[Node]:
    """A node whose handlers, on the loop and on a thread, are inside of ``before``."""

    class Inner(Middleware):
        def before_handle(self, handling: Handling) -> Any:
            return before(handling)

    class Both(Node):
        middleware = (Told("one"), Inner)

        @subscription("to.loop")
        async def on_loop(self, payload: str) -> None:
            HEARD.append(f"loop {payload}")

        @subscription("to.thread")
        def on_thread(self, payload: str) -> None:
            HEARD.append(f"thread {payload}")

    return Both


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_an_exception_before_a_handler_counts_as_the_handlers(hive: HiveTest, where: str) -> None:
    def fail(handling: Handling) -> None:
        raise ValueError("no")

    node = hive.start(around(fail))
    hive.send(f"to.{where}", "x")
    eventually(lambda: sum(one.failed for one in node.bound_subscriptions) == 1)
    assert HEARD[-1] == "one after ValueError('no')"


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_a_hook_that_skips_keeps_a_message_from_its_handler(hive: HiveTest, where: str) -> None:
    def skip(handling: Handling) -> None:
        raise Skip("seen already")

    node = hive.start(around(skip))
    hive.send(f"to.{where}", "x")
    eventually(lambda: sum(one.handled for one in node.bound_subscriptions) == 1)
    assert HEARD[-1] == "one after Skip('seen already')"


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_a_hook_that_is_awaited_replaces_the_payload(hive: HiveTest, where: str) -> None:
    async def shout(handling: Handling) -> None:
        await asyncio.sleep(0)
        handling.payload = handling.payload.upper()

    hive.start(around(shout))
    hive.send(f"to.{where}", "x")
    eventually(lambda: f"{where} X" in HEARD)


def test_a_failed_handler_is_seen_by_hooks_and_may_be_forgiven(hive: HiveTest) -> None:
    class Forgiving(Middleware):
        def after_handle(self, handling: Handling, error: BaseException | None) -> None:
            if isinstance(error, KeyError):
                raise Skip("never mind")

    class Clumsy(Node):
        middleware = (Forgiving, Told("in"))

        @subscription("*.job")
        async def do(self, payload: str) -> None:
            raise {"key": KeyError, "value": ValueError}[payload](payload)

    node = hive.start(Clumsy)
    hive.send("a.job", "key")
    hive.send("a.job", "value")
    eventually(lambda: (node.bound_subscriptions[0].handled, node.bound_subscriptions[0].failed) == (1, 1))
    assert [one for one in HEARD if "after" in one] == ["in after KeyError('key')", "in after ValueError('value')"]


def test_a_durable_message_that_a_hook_fails_is_tried_again(hive: HiveTest) -> None:
    class Inner(Middleware):
        def before_handle(self, handling: Handling) -> None:
            if handling.message.deliveries == 1:
                raise ValueError("not yet")

    class Shop(Node):
        middleware = (Inner,)

        @service("order", durable=True, every=60)
        def sell(self, service: Service) -> None:
            service.send("tea")

        @subscription("order", durable=True, since="all", backoff=(0.05, 0.05))
        async def pack(self, payload: str, message: Any) -> None:
            HEARD.append(f"{payload} {message.deliveries}")

    hive.start(Shop)
    eventually(lambda: HEARD == ["tea 2"], within=10)


class Relay(Node):
    """Passes on what it gets, on the loop and on a thread."""

    @subscription("in.loop")
    async def on_loop(self, payload: str) -> None:
        await asyncio.sleep(0)
        self.send("out", payload)

    @subscription("in.thread")
    def on_thread(self, payload: str) -> None:
        self.send("out", payload)


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_headers_that_are_propagated_travel_with_what_a_handler_sends(hive_server: str, where: str) -> None:
    with HiveTest(hive_server, f"relay-{where}", {"PROPAGATE": ["traceparent"]}) as hive:
        hive.start(Relay)
        hive.send(f"in.{where}", "x", headers={"traceparent": "00-abc", "other": "not me"})
        assert hive.expect("out").headers == {"traceparent": "00-abc"}
        hive.send(f"in.{where}", "y")
        assert hive.expect("out").headers == {}


def test_a_handler_sets_headers_for_what_is_sent_inside(hive: HiveTest) -> None:
    class Tracing(Node):
        @subscription("in")
        async def pass_on(self, payload: str) -> None:
            with self.carrying({"trace-id": "7"}, correlation="a"):
                await asyncio.create_task(self.tell())
                self.send("out", "own", headers={"correlation": "b"})
            self.send("out", "outside")

        async def tell(self) -> None:
            self.send("out", "task")

    hive.start(Tracing)
    hive.send("in", "x")
    found = {message.payload: dict(message.headers) for message in [hive.expect("out") for _ in range(3)]}
    assert found == {
        "task": {"trace-id": "7", "correlation": "a"},
        "own": {"trace-id": "7", "correlation": "b"},
        "outside": {},
    }


def test_middleware_sets_headers_that_travel(hive: HiveTest) -> None:
    class Marking(Middleware):
        def before_handle(self, handling: Handling) -> None:
            handling.headers["handled-by"] = handling.node.instance

    class Marked(Relay):
        middleware = (Marking,)

    hive.start(Marked)
    hive.send("in.loop", "x")
    assert hive.expect("out").headers == {"handled-by": "marked.0"}


def test_plain_functions_have_their_modules_middleware(hive: HiveTest) -> None:
    module = ModuleType("signals")

    @subscription("bat-signal")
    async def save(payload: str) -> None:
        HEARD.append(payload)

    save.__module__ = module.__name__
    vars(module).update(save=save, middleware=[Told("module")])
    hive.start(module)
    hive.send("bat-signal", "help")
    eventually(lambda: HEARD[-1:] == ["module after None"])


def test_a_start_hook_that_fails_ends_the_start(hive: HiveTest) -> None:
    class Broken(Middleware):
        async def on_start(self, node: Any) -> None:
            raise ValueError("no tracer here")

    class Signal(Node):
        middleware = (Broken,)

    with pytest.raises(ValueError, match="no tracer here"):
        hive.start(Signal)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("tests.test_middleware:Tolt", "did you mean Told"),
        ("tests.no_such_file:Told", "MIDDLEWARE: 'tests.no_such_file:Told' cannot be imported: ModuleNotFoundError"),
        ("tests.test_middleware:Relay", "no such class derived from Middleware"),
    ],
)
def test_middleware_that_is_not_there_is_a_clear_error(hive_server: str, target: str, says: str) -> None:
    with (
        HiveTest(hive_server, "wrong", {"MIDDLEWARE": [target]}) as hive,
        pytest.raises(ConfigurationError, match=says),
    ):
        hive.start(Relay)


def test_a_setting_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"package\.module:Class"):
        Constants(MIDDLEWARE=["tracing"])


def test_something_else_in_the_list_is_refused(hive: HiveTest, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Node):
        middleware = (print,)  # type: ignore[assignment]

    with caplog.at_level(logging.ERROR), pytest.raises(DeclarationError, match="does not derive from Middleware"):
        hive.start(Wrong)


class Calculator(Node):
    """Answers, on the loop, on a thread, and with many replies; says what it carries."""

    middleware = (Told("one"),)

    @resource
    def factor(self) -> int:
        return 10

    @responder("loop")
    async def on_loop(self, payload: int, factor: int) -> int:
        self.send("asked", payload)
        return payload * factor

    @responder("thread")
    def on_thread(self, payload: int, factor: int) -> int:
        self.send("asked", payload)
        return payload * factor

    @responder("stream", stream=True)
    async def many(self, payload: int, factor: int) -> AsyncIterator[int]:
        for number in range(payload):
            self.send("asked", number)
            yield number * factor


@pytest.mark.parametrize("name", ["loop", "thread"])
def test_responders_are_inside_of_middleware_and_get_resources(hive: HiveTest, name: str) -> None:
    hive.start(Calculator)
    assert hive.request(name, 4) == 40
    assert [one for one in HEARD if "send" not in one and "start" not in one] == [
        f"one before Calculator.on_{name} {name}",
        "one after None",
    ]


def test_hooks_are_around_all_replies_of_a_stream(hive: HiveTest) -> None:
    hive.start(Calculator)
    assert list(hive.request_stream("stream", 3)) == [0, 10, 20]
    eventually(lambda: HEARD[-1] == "one after None")
    assert [one for one in HEARD if "handle" not in one and "send" not in one][1:] == [
        "one before Calculator.many stream",
        "one after None",
    ]


@pytest.mark.parametrize("name", ["loop", "thread", "stream"])
def test_headers_travel_with_a_request_and_on_from_there(hive_server: str, name: str) -> None:
    with HiveTest(hive_server, f"asking-{name}", {"PROPAGATE": ["correlation"]}) as hive:
        hive.start(Calculator)
        with hive._client.carrying(correlation="7"):
            if name == "stream":
                list(hive.request_stream(name, 1))
            else:
                hive.request(name, 1)
        assert hive.expect("asked").headers == {"correlation": "7"}


def test_what_a_hook_raises_is_the_remote_error_of_who_asked(hive: HiveTest) -> None:
    class Closed(Middleware):
        def before_handle(self, handling: Handling) -> None:
            raise PermissionError("not for you")

    class Guarded(Node):
        middleware = (Closed,)

        @responder("sum")
        async def add(self, payload: list[int]) -> int:
            return sum(payload)

    hive.start(Guarded)
    with pytest.raises(RemoteError, match="not for you"):
        hive.request("sum", [1, 2])


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_a_request_passes_through_the_hooks_around_sending(hive: HiveTest, where: str) -> None:
    class Loud(Middleware):
        def before_send(self, sending: Sending) -> None:
            if sending.topic == "echo":
                sending.payload = sending.payload.upper()
                sending.headers["mood"] = "loud"

    class Asking(Node):
        middleware = (Loud, Told("one"))

        @subscription("ask.loop")
        async def ask(self, payload: str) -> None:
            self.send("answer", await self.request("echo", payload))

        @subscription("ask.thread")
        def ask_on_thread(self, payload: str) -> None:
            self.send("answer", self.request("echo", payload))

    class Echo(Node):
        @responder("echo")
        async def echo(self, payload: str, message: Any) -> list[str]:
            return [payload, message.headers["mood"]]

    hive.start(Echo)
    hive.start(Asking)
    hive.send(f"ask.{where}", "hello")
    assert hive.expect("answer").payload == ["HELLO", "loud"]


@pytest.mark.parametrize(
    ("name", "hook", "why"),
    [
        ("before_snd", lambda self, sending: None, "no such hook, did you mean before_send?"),
        ("on_stop", lambda self, node: None, "no such hook, did you mean on_start?"),
    ],
)
def test_a_hook_that_nobody_would_call_is_told_where_it_is_written(name: str, hook: Any, why: str) -> None:
    with pytest.raises(DeclarationError, match=f"Odd.{name}: middleware has {re.escape(why)}"):
        type("Odd", (Middleware,), {name: hook})


def test_a_hook_around_sending_that_would_have_to_be_awaited_is_told() -> None:
    async def before_send(self: Any, sending: Sending) -> None: ...

    with pytest.raises(DeclarationError, match=r"Odd.before_send is an async def.* write def"):
        type("Odd", (Middleware,), {"before_send": before_send})
