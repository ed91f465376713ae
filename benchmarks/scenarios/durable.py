"""Durable messages a second from one publisher to one group of one subscriber, in two processes.

What is handled has to be acknowledged, too: a measurement counts only if in the end the server waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from redis import Redis

from ..bench import TOPIC, Case, Lost, Part, Setup, measure
from ..names import BARE, FASTSTREAM, FASTSTREAM_PIPELINES, JETSTREAM, JETSTREAM_PUSH, OURS
from ..processes import node, peer
from ..servers import nats_server

STREAM = f"hm:default:s:{{{TOPIC}}}"  #: as docs/wire.md says


def in_redis(url: str) -> int:
    """How many messages of our stream, or of a peer's, are given out and not acknowledged, or wait for a group.

    Raises Lost where no group reads any stream.
    """
    with Redis.from_url(url) as redis:
        groups = [one for stream in (STREAM, TOPIC) if redis.exists(stream) for one in redis.xinfo_groups(stream)]
        if not groups:
            raise Lost("nothing was kept for a group")
        return sum(int(one["pending"]) + int(one["lag"] or 0) for one in groups)


def in_jetstream(url: str) -> int:
    """The same of JetStream's consumer."""
    from ..peers import jet_stream  # noqa: PLC0415 - a peer, which need not be installed

    return asyncio.run(jet_stream.unsettled(url))


def redis(sender: list[str], handler: list[str]) -> Setup:
    """Two processes and a Redis that writes its append-only file every second, as hived's does."""
    return Setup(sender, [Part(handler)], durable=True, unsettled=in_redis)


def jetstream(role: str) -> Setup:
    """Two processes and a nats-server with JetStream."""
    return Setup(peer("jet_stream", "publish"), [Part(peer("jet_stream", role))], "jetstream", unsettled=in_jetstream)


SETUPS: Mapping[str, Setup] = {
    OURS: redis(node("send"), node("handle_durable")),
    BARE: redis(peer("bare_stream", "publish"), peer("bare_stream", "subscribe")),
    FASTSTREAM: redis(peer("fast_stream", "publish"), peer("fast_stream", "subscribe")),
    FASTSTREAM_PIPELINES: redis(peer("fast_stream", "publish_by_pipeline"), peer("fast_stream", "subscribe")),
    JETSTREAM: jetstream("pull"),
    JETSTREAM_PUSH: jetstream("push"),
}


def case(name: str, setup: Setup) -> Case:
    """Measures a rate."""
    is_here = setup.server != "jetstream" or nats_server() is not None
    return Case(lambda bench: {name: measure(bench, setup).rate}, (name,), is_here)


CASES: Mapping[str, Case] = {name: case(name, setup) for name, setup in SETUPS.items()}

#: The same where Redis writes everything to the disk before it answers.
ALWAYS: Mapping[str, Case] = {name: case(name, replace(SETUPS[name], server="always")) for name in (OURS, BARE)}
