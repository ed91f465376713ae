"""Every row of the table: what is measured, what it is held to, how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hivemind.patterns import RESOLVED

from .bench import Case
from .marks import Mark, at_least, at_most
from .names import (
    BARE,
    DISCARDING,
    FASTSTREAM,
    JETSTREAM,
    JETSTREAM_PUSH,
    MODEL,
    NATS,
    OURS,
    REDIS_PY,
    THREADS,
    ZMQ,
)
from .scenarios import (
    backlog,
    durable,
    fanout,
    idle,
    latency,
    outage,
    patterns,
    payload,
    rate,
    registry,
    requests,
    start,
    subscriptions,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario. ``quick`` names the cases of a quick run; empty: the row is left out of it."""

    key: str
    title: str
    unit: str
    cases: Mapping[str, Case]
    marks: tuple[Mark, ...]
    rounds: int = 3
    quick: tuple[str, ...] = ()


RATE = Row(
    "rate",
    "one service → one handler, a small dict, two processes",
    "messages/s",
    rate.CASES,
    (
        at_least(OURS, 60, of=FASTSTREAM),
        at_least(OURS, 2.5, of=NATS),
        at_least(OURS, 2, of=ZMQ),
        at_least(OURS, 2.5, of=REDIS_PY),
        at_least(OURS, 0.5, of=BARE),
        at_least(THREADS, 0.8, of=OURS),
        at_least(MODEL, 0.25, of=OURS),
    ),
    quick=(OURS, BARE, REDIS_PY, THREADS, MODEL),
)
DURABLE = Row(
    "durable",
    "durable: one service → one group of one, acknowledged, two processes",
    "messages/s",
    durable.CASES,
    (
        at_least(OURS, 50, of=FASTSTREAM),
        at_least(OURS, 8, of=JETSTREAM),
        at_least(OURS, 8, of=JETSTREAM_PUSH),
        at_least(OURS, 0.5, of=BARE),
    ),
    quick=(OURS, BARE),
)
ALWAYS = Row(
    "always",
    "durable, with `appendfsync always`",
    "messages/s",
    durable.ALWAYS,
    (at_least(OURS, 0.8, of=BARE),),
)
BACKLOG = Row(
    "backlog",
    "durable: a stream with 10,000,000 entries and three groups, beside one with none",
    "",
    backlog.CASES,
    (
        at_least(backlog.rate(backlog.FULL), 0.8, of=backlog.rate(backlog.EMPTY)),
        at_most(backlog.cost(backlog.FULL), 1.2, of=backlog.cost(backlog.EMPTY)),
        at_least(backlog.JOINED, 0.8, of=backlog.rate(backlog.EMPTY)),
        at_least(backlog.TRIMMED, 0.5, of=backlog.rate(backlog.EMPTY)),
        at_most(backlog.NODE, 64),
        at_most(backlog.SPACE, 160),
    ),
    rounds=2,
)
LATENCY = Row(
    "latency",
    "one-way latency when idle, service on a thread → `async def` handler",
    "µs",
    latency.CASES,
    (
        at_most(latency.label(OURS, latency.P50), 2, of=latency.label(BARE, latency.P50)),
        at_most(latency.label(OURS, latency.P99), 5, of=latency.label(BARE, latency.P99)),
        *(
            at_most(latency.label(OURS, part), 1, of=latency.label(peer, part))
            for peer in (FASTSTREAM, NATS)
            for part in (latency.P50, latency.P99)
        ),
    ),
    quick=(OURS, BARE),
)
REQUEST = Row(
    "request",
    "request and reply, one at a time, every 5 ms or back to back, two processes; the bare loop: two bare pub/sub hops",
    "µs",
    requests.CASES,
    tuple(
        at_most(latency.label(OURS + kind, latency.P50), most, of=latency.label(peer + kind, latency.P50))
        for kind in ("", requests.BACK_TO_BACK)
        for peer, most in ((BARE, 2), (FASTSTREAM, 1), (NATS, 1))
    ),
    quick=(OURS, BARE),
)
REQUESTS = Row(
    "requests",
    f"requests and replies, {requests.AT_ONCE} at a time, two processes",
    "requests/s",
    requests.RATES,
    (at_least(OURS, 20, of=FASTSTREAM), at_least(OURS, 1, of=NATS)),
    quick=(OURS,),
)
PAYLOAD = Row(
    "payload",
    "texts of 64 B to 1 MiB (less two bytes: the limit counts the quotes)",
    "MiB/s",
    payload.CASES,
    (at_least(payload.label(OURS, "64 KiB"), 0.6, of=payload.label(BARE, "64 KiB")),),
    rounds=2,
    quick=(payload.label(OURS, "64 KiB"), payload.label(BARE, "64 KiB")),
)
FANOUT = Row(
    "fanout",
    "one service → 1, 10, 100 subscribers, beside subscribers that only count bytes",
    "",
    fanout.CASES,
    (
        at_most(fanout.growth(OURS), 1.1, of=fanout.growth(DISCARDING)),
        # Ours take what comes more slowly, so that fewer messages share one write of Redis: 1.1 to 1.9 were measured.
        *(at_most(fanout.cost(OURS, many), 2, of=fanout.cost(DISCARDING, many)) for many in fanout.SIZES[1:]),
    ),
    rounds=2,
)
PATTERNS = Row(
    "patterns",
    "1 to 10,000 distinct wildcard patterns in the hive, one of which matches",
    "messages/s",
    patterns.CASES,
    (at_least(patterns.name(10_000, RESOLVED), 0.7, of=patterns.name(1, RESOLVED)),),
    rounds=2,
)
SUBSCRIPTIONS = Row(
    "subscriptions",
    "1 and 1,000 subscriptions in one node, one of which matches: CPU of the node for a message",
    "µs",
    subscriptions.CASES,
    (at_most(subscriptions.name(1_000), 1.2, of=subscriptions.name(1)),),
    quick=tuple(subscriptions.CASES),
)
REGISTRY = Row(
    "registry",
    "1, 100, 1,000 registered instances with simulated beats",
    "",
    registry.CASES,
    (
        at_most(registry.listing(1_000), 50),
        at_most(registry.listing(1_000), 10 * 1.2, of=registry.listing(100)),
        at_most(registry.root(1_000), 1.2, of=registry.root(100)),
    ),
    rounds=2,
)
START = Row(
    "start",
    "what one waits for",
    "s",
    start.CASES,
    (at_most(start.FIRST, 0.6), at_most(start.HELP, 0.25)),
    rounds=5,
    quick=tuple(start.CASES),
)
IDLE = Row(
    "idle",
    "nodes that have nothing to do",
    "",
    idle.CASES,
    tuple(
        at_most(idle.label(idle.ONE, what), most)
        for what, most in ((idle.CPU, 0.3), (idle.MEMORY, 48), (idle.COMMANDS, 1.2))
    ),
    rounds=1,
)
OUTAGE = Row(
    "outage",
    "the outbox full for 60 s with Redis away",
    "",
    outage.CASES,
    (at_most(outage.GROWTH, outage.BOUND), at_most(outage.WAITED, 100_000), at_most(outage.UNCOUNTED, 0)),
    rounds=1,
    quick=tuple(outage.CASES),
)

_LIVE = (RATE, LATENCY, PAYLOAD, FANOUT, PATTERNS, SUBSCRIPTIONS)
_DURABLE = (DURABLE, ALWAYS, BACKLOG)
_REQUESTS = (REQUEST, REQUESTS)
_HIVE = (REGISTRY, START, IDLE, OUTAGE)
ROWS: Mapping[str, Row] = {row.key: row for row in (*_LIVE, *_DURABLE, *_REQUESTS, *_HIVE)}
QUICK = tuple(key for key, row in ROWS.items() if row.quick)
