"""Traces by OpenTelemetry: a span for each message that is sent or handled, and for each request.

``MIDDLEWARE = ["hivemind.tracing:Tracing"]`` switches it on. Needs the extra ``otel``; nobody else imports this.
"""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import entry_points
from typing import Any

from . import __version__
from .node.base import BaseNode
from .node.middleware import Handling, Middleware, Sending

try:
    from opentelemetry import context as contexts
    from opentelemetry import propagate, trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
except ImportError as error:
    raise ImportError("tracing needs OpenTelemetry: pip install 'hivemind-net[otel]'") from error

EXPORTER = "OTEL_TRACES_EXPORTER"  #: environment variable: where spans go, "otlp" by default
FLUSH = 2.0  #: seconds that a node which stops waits for its last spans to go out
SPAN, TOKEN = "hivemind.tracing.span", "hivemind.tracing.token"  #: among the notes of a message
_WAYS_OF_OTLP = ("otlp", "otlp_proto_http", "otlp_proto_grpc")


class Tracing(Middleware):
    """Spans around whatever a node sends, asks and handles; each is a child of the one that it was caused by.

    Attributes are named by OpenTelemetry's conventions for messaging. Spans go to ``provider``, else to the process's;
    where nobody has set one, it is made of what the ``OTEL_`` variables say.
    """

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer = trace.get_tracer("hivemind", __version__, provider)

    def on_start(self, node: BaseNode) -> None:
        """Have a provider."""
        if self._provider is None and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            _provide(node)

    async def on_shutdown(self, node: BaseNode) -> None:  # noqa: ARG002
        """Let the last spans go out."""
        flush = getattr(self._provider or trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            await asyncio.to_thread(flush, int(FLUSH * 1000))

    def before_send(self, sending: Sending) -> None:
        """Begin a span, and let the message carry it."""
        around = contexts.get_current()
        if not trace.get_current_span(around).get_span_context().is_valid:
            around = propagate.extract(sending.headers, around)
        what, kind = ("request", SpanKind.CLIENT) if sending.is_request else ("send", SpanKind.PRODUCER)
        about = _about(sending.node, sending.topic, what, "send")
        span = self._tracer.start_span(f"{what} {sending.topic}", around, kind, about)
        propagate.inject(sending.headers, trace.set_span_in_context(span, around))
        sending.notes[SPAN] = span

    def after_send(self, sending: Sending, error: BaseException | None) -> None:
        """The message is handed over; a request goes on until it has its reply."""
        if error is not None or not sending.is_request:
            _end(sending.notes[SPAN], error)

    def after_reply(self, sending: Sending, error: BaseException | None) -> None:
        """The request is over."""
        _end(sending.notes[SPAN], error)

    def before_handle(self, handling: Handling) -> None:
        """Begin a span: what the handler does, also with other libraries, is inside."""
        message, node = handling.message, handling.node
        what, kind = ("respond", SpanKind.SERVER) if handling.is_request else ("process", SpanKind.CONSUMER)
        about = _about(node, message.topic, what, "process")
        about |= {"messaging.message.id": message.id, "code.function.name": handling.handler}
        if message.deliveries > 1:
            about["hivemind.deliveries"] = message.deliveries
        around = propagate.extract(message.headers)
        span = self._tracer.start_span(f"{what} {message.topic}", around, kind, about)
        handling.notes[SPAN] = span
        handling.notes[TOKEN] = contexts.attach(trace.set_span_in_context(span, around))

    def after_handle(self, handling: Handling, error: BaseException | None) -> None:
        """The handler has ended."""
        contexts.detach(handling.notes[TOKEN])
        _end(handling.notes[SPAN], error)


def headers() -> dict[str, str]:
    """What a message carries that belongs to the current span: for ``connect()``, which has no middleware."""
    found: dict[str, str] = {}
    propagate.inject(found)
    return found


def _about(node: BaseNode, topic: str, what: str, kind: str) -> dict[str, Any]:
    return {
        "messaging.system": "hivemind",
        "messaging.destination.name": topic,
        "messaging.operation.name": what,
        "messaging.operation.type": kind,
        "messaging.client.id": node.instance,
    }


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute("error.type", type(error).__qualname__)
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, str(error)))
    span.end()


def _provide(node: BaseNode) -> None:
    """Set the process's provider. Telemetry ends no node: what is missing is said in its log."""
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the API alone passes traces on
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        node.log_warning("tracing: no spans without opentelemetry-sdk: pip install 'hivemind-net[otel]'")
        return
    names = [name.strip() for name in os.environ.get(EXPORTER, "otlp").split(",")]
    wanted = [name for name in names if name and name != "none"]
    if not wanted:
        return
    name, _, number = node.instance.rpartition(".")
    about = {"service.namespace": node.settings.name, "service.instance.id": f"{name}.{number}"}
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        about["service.name"] = name
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    for one in wanted:
        try:
            provider.add_span_processor(BatchSpanProcessor(_exporter(one)))
        except Exception as error:  # noqa: BLE001 - somebody else's code, and his settings
            node.log_warning(f"tracing: {EXPORTER}={one} cannot be used, and nothing goes there: {error}")
        else:
            trace.set_tracer_provider(provider)


def _exporter(name: str) -> Any:
    found = entry_points(group="opentelemetry_traces_exporter")
    for each in _WAYS_OF_OTLP if name == "otlp" else (name,):
        for one in found.select(name=each):
            return one.load()()
    package = "opentelemetry-exporter-otlp-proto-http" if name == "otlp" else f"opentelemetry-exporter-{name}"
    raise LookupError(f"it is not installed; is it in {package}?")
