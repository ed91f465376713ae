"""Traces: what travels by itself, and the spans that OpenTelemetry makes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from hivemind import (
    Handling,
    Message,
    Middleware,
    Node,
    RemoteError,
    Sending,
    Service,
    responder,
    service,
    subscription,
)
from hivemind import tracing as hm_tracing
from hivemind.testing import HiveTest

from .hive_kit import SENDER, Hive
from .waiting import eventually

TRACE = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=1"}
TRACED = {"MIDDLEWARE": ["hivemind.tracing:Tracing"]}
SPANS = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(SPANS))


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What was recorded since; a process can set its provider once."""
    if trace.get_tracer_provider() is not PROVIDER:
        trace.set_tracer_provider(PROVIDER)
    SPANS.clear()
    yield SPANS
    SPANS.clear()


class Relay(Node):
    """Sends on, from every kind of handler."""

    @subscription("in.loop")
    async def on_loop(self, payload: str) -> None:
        self.send("out", payload)

    @subscription("in.thread")
    def on_thread(self, payload: str) -> None:
        self.send("out", payload)

    @subscription("in.named")
    async def named(self, payload: str, message: Message) -> None:
        self.send("out", payload)

    @subscription("in.durable", durable=True)
    async def durably(self, payload: str) -> None:
        self.send("out", payload)

    @subscription("in.durable-thread", durable=True)
    def durably_on_thread(self, payload: str) -> None:
        self.send("out", payload)

    @subscription("in.asks")
    async def asks(self, payload: str) -> None:
        await self.request("answer", payload)

    @responder("answer")
    async def answer(self, payload: str) -> str:
        self.send("out", payload)
        return payload

    @responder("answer-thread")
    def answer_on_thread(self, payload: str) -> str:
        self.send("out", payload)
        return payload

    @responder("answers", stream=True)
    async def answers(self, payload: str) -> AsyncIterator[str]:
        self.send("out", payload)
        yield payload


@pytest.mark.parametrize("where", ["loop", "thread", "named", "durable", "durable-thread", "asks"])
def test_a_trace_travels_with_what_a_handler_sends_without_any_setting(hive_server: str, where: str) -> None:
    with HiveTest(hive_server, f"trace-{where}") as hive:
        hive.start(Relay)
        durable = where.startswith("durable")
        for headers, expected in ((None, {}), (TRACE | {"other": "not me"}, TRACE), ({"other": "x"}, {}), (None, {})):
            hive.send(f"in.{where}", "x", headers=headers, durable=durable)
            assert hive.expect("out").headers == expected


def test_what_is_too_long_for_a_trace_fills_nobodys_headers(hive_server: str) -> None:
    with HiveTest(hive_server, "long") as hive:
        hive.start(Relay)
        parent = TRACE["traceparent"]
        for headers, expected in (
            ({"traceparent": parent, "tracestate": "a" * 5000}, {"traceparent": parent}),
            ({"traceparent": "0" * 5000}, {}),
            ({"tracestate": "a=1"}, {}),
        ):
            hive.send("in.loop", "x", headers=headers)
            assert hive.expect("out").headers == expected


def test_a_trace_travels_with_other_middleware_around(hive_server: str) -> None:
    class Noting(Middleware):
        def before_handle(self, handling: Handling) -> None:
            handling.notes["seen"] = True

    class Wrapped(Relay):
        middleware = (Noting,)

    with HiveTest(hive_server, "wrapped") as hive:
        hive.start(Wrapped)
        for where in ("loop", "thread"):
            hive.send(f"in.{where}", "x", headers=TRACE | {"other": "not me"})
            assert hive.expect("out").headers == TRACE


@pytest.mark.parametrize("name", ["answer", "answer-thread", "answers"])
def test_a_trace_travels_through_a_request(hive_server: str, name: str) -> None:
    with HiveTest(hive_server, f"trace-{name}") as hive:
        hive.start(Relay)
        for expected in ({}, TRACE, {}):
            with hive._client.carrying(expected):
                assert list(hive.request_stream(name, "x")) if name == "answers" else hive.request(name, "x")
            assert hive.expect("out").headers == expected


class Robin(Node):
    """Sees it, and hears what came of it."""

    @service("signal", every=60.0)
    async def watch(self, service: Service) -> None:
        service.send("help!")

    @subscription("report", durable=True)
    def hear(self, payload: str) -> None:
        pass


class Batman(Node):
    """Asks, and reports."""

    @service("report", durable=True)
    async def report(self, service: Service) -> int:
        return 1

    @subscription("signal")
    async def save(self, payload: str) -> None:
        self.send("report", await self.request("cave", payload))


class Alfred(Node):
    """Knows."""

    @responder("cave")
    def know(self, payload: str) -> str:
        return "the Joker"


def test_one_trace_leads_through_three_nodes(hive_server: str, spans: InMemorySpanExporter) -> None:
    with HiveTest(hive_server, "three", TRACED) as hive:
        for node in (Alfred, Batman, Robin):
            hive.start(node)
        eventually(lambda: "process report" in {one.name for one in spans.get_finished_spans()}, within=10)

    found = {one.name: one for one in spans.get_finished_spans()}
    assert len({one.context.trace_id for one in found.values() if one.context}) == 1
    chain = {name: (parent_of(one, found), one.kind, attribute(one, "client.id")) for name, one in found.items()}
    assert chain == {
        "send signal": ("", SpanKind.PRODUCER, "robin.0"),
        "process signal": ("send signal", SpanKind.CONSUMER, "batman.0"),
        "request cave": ("process signal", SpanKind.CLIENT, "batman.0"),
        "respond cave": ("request cave", SpanKind.SERVER, "alfred.0"),
        "send report": ("process signal", SpanKind.PRODUCER, "batman.0"),
        "process report": ("send report", SpanKind.CONSUMER, "robin.0"),
    }
    processed = found["process signal"]
    assert attribute(processed, "system") == "hivemind"
    assert attribute(processed, "destination.name") == "signal"
    assert (attribute(processed, "operation.name"), attribute(processed, "operation.type")) == ("process", "process")
    assert attribute(processed, "message.id").startswith("signal/robin.0/")
    assert (processed.attributes or {})["code.function.name"] == "Batman.save"
    asked, answered = found["request cave"], found["respond cave"]
    assert (asked.end_time or 0) >= (answered.end_time or 0)


def parent_of(one: ReadableSpan, found: dict[str, ReadableSpan]) -> str:
    names = {span.context.span_id: name for name, span in found.items() if span.context}
    return names[one.parent.span_id] if one.parent else ""


def attribute(one: ReadableSpan, name: str) -> Any:
    return (one.attributes or {})[f"messaging.{name}"]


class Fails(Node):
    """Raises, whatever comes."""

    @subscription("fails", durable=True, retries=1, backoff=(0.01, 0.01))
    async def fail(self, payload: str) -> None:
        raise ValueError(payload)

    @responder("fails")
    async def refuse(self, payload: str) -> str:
        raise ValueError(payload)

    @responder("part", stream=True)
    async def part(self, payload: str) -> AsyncIterator[str]:
        yield payload
        yield payload

    @subscription("ask")
    async def ask(self, payload: str) -> None:
        with pytest.raises(RemoteError):
            await self.request("fails", payload)
        async with self.request_stream("part", payload) as replies:
            async for _ in replies:
                break


def test_what_went_wrong_is_on_the_span_and_each_try_has_its_own(hive_server: str, spans: InMemorySpanExporter) -> None:
    with HiveTest(hive_server, "wrong", TRACED) as hive:
        hive.start(Fails)
        hive.send("fails", "boom", durable=True)
        hive.send("ask", "boom")
        wanted = {"process fails", "respond fails", "request fails", "request part", "respond part", "process ask"}
        eventually(lambda: wanted <= {one.name for one in spans.get_finished_spans()}, within=10)
        eventually(lambda: len([one for one in spans.get_finished_spans() if one.name == "process fails"]) == 2)
    errors = [(one.name, (one.attributes or {}).get("error.type")) for one in spans.get_finished_spans()]
    assert errors.count(("process fails", "ValueError")) == 2
    assert ("respond fails", "ValueError") in errors
    assert ("request fails", "RemoteError") in errors
    assert ("request part", None) in errors
    tries = [one.attributes or {} for one in spans.get_finished_spans() if one.name == "process fails"]
    assert [one.get("hivemind.deliveries") for one in tries] == [None, 2]


def test_middleware_is_told_when_a_request_is_over(hive_server: str) -> None:
    heard: list[str] = []

    class Told(Middleware):
        def before_send(self, sending: Sending) -> None:
            heard.append(f"before {sending.topic} {sending.is_request}")

        def after_send(self, sending: Sending, error: BaseException | None) -> None:
            heard.append(f"after {sending.topic}")

        def after_reply(self, sending: Sending, error: BaseException | None) -> None:
            heard.append(f"reply {sending.topic} {type(error).__name__}")

    class Asks(Fails):
        middleware = (Told,)

    with HiveTest(hive_server, "told") as hive:
        hive.start(Asks)
        hive.send("ask", "x")
        eventually(lambda: len(heard) == 6)
    assert heard == [
        "before fails True",
        "after fails",
        "reply fails RemoteError",
        "before part True",
        "after part",
        "reply part NoneType",
    ]


def test_the_headers_of_the_current_span_are_there_for_clients(spans: InMemorySpanExporter) -> None:
    assert hm_tracing.headers() == {}
    with trace.get_tracer("t").start_as_current_span("x") as span:
        assert f"{span.get_span_context().span_id:016x}" in hm_tracing.headers()["traceparent"]


def test_processes_export_by_the_variables_of_opentelemetry_and_run_where_that_is_impossible(gotham: Hive) -> None:
    gotham.environ |= {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    gotham.configure(
        'MIDDLEWARE = ["hivemind.tracing:Tracing"]\nNODES = {"joker": {"env": {"OTEL_TRACES_EXPORTER": "nothere"}}}'
    )
    gotham.node("robin", SENDER)
    gotham.node("joker", SENDER)
    gotham.start()
    logs = gotham.folder / "log"
    eventually(lambda: '"name": "send robin"' in (logs / "robin.log").read_text(), within=20)
    said = (logs / "robin.log").read_text()
    assert '"service.name": "robin"' in said
    assert '"service.namespace": "gotham"' in said
    eventually(lambda: "OTEL_TRACES_EXPORTER=nothere cannot be used" in (logs / "joker.log").read_text(), within=20)
    eventually(lambda: gotham.states()["joker.0"] == "running", within=20)


def test_without_opentelemetry_nothing_else_is_missing_and_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import hivemind.node.node, hivemind.client\n"
        "try:\n    import hivemind.tracing\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "tracing needs OpenTelemetry: pip install 'hivemind-net[otel]'\n"
