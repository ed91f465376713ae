"""Messages a second from one publisher to one subscriber, in two processes."""

from __future__ import annotations

from collections.abc import Mapping

from ..bench import Case, Part, Setup, measure
from ..names import BARE, FASTSTREAM, FASTSTREAM_PIPELINES, MODEL, NATS, OURS, REDIS_PY, THREADS, ZMQ
from ..processes import node, peer
from ..servers import nats_server

_FASTSTREAM = [Part(peer("fast_stream", "subscribe"))]

SETUPS: Mapping[str, Setup] = {
    OURS: Setup(node("send"), [Part(node("handle"))]),
    BARE: Setup(peer("bare", "publish"), [Part(peer("bare", "subscribe"))]),
    FASTSTREAM: Setup(peer("fast_stream", "publish"), _FASTSTREAM),
    FASTSTREAM_PIPELINES: Setup(peer("fast_stream", "publish_by_pipeline"), _FASTSTREAM),
    NATS: Setup(peer("nats_py", "publish"), [Part(peer("nats_py", "subscribe"))], "nats"),
    ZMQ: Setup(peer("py_zmq", "publish"), [Part(peer("py_zmq", "subscribe"))], "zmq"),
    REDIS_PY: Setup(peer("redis_py", "publish"), [Part(peer("redis_py", "subscribe"))]),
    THREADS: Setup(node("send_thread"), [Part(node("handle_thread"))]),
    MODEL: Setup(node("send"), [Part(node("handle_model"))]),
}


def case(name: str, setup: Setup) -> Case:
    """Measures a rate."""
    return Case(lambda bench: {name: measure(bench, setup).rate}, (name,), is_here(name))


def is_here(name: str) -> bool:
    """Whether the server that it needs is installed."""
    return name != NATS or nats_server() is not None


CASES: Mapping[str, Case] = {name: case(name, setup) for name, setup in SETUPS.items()}
