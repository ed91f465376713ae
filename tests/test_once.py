"""dedupe=: what was handled is not handled again, however often its message comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind import Node, subscription
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.once import mark_of
from hivemind.bus.streams import Mark, Reader
from hivemind.errors import DeclarationError
from hivemind.testing import HiveTest
from hivemind.topics import Names

from .node_kit import Workshop
from .servers import RedisServer
from .test_durable import sender
from .test_durable_nodes import SENDER, packer
from .test_durable_nodes import shop as shop  # noqa: PLC0414 - a fixture
from .test_streams import GROUP, Table, reader
from .test_streams import table as table  # noqa: PLC0414 - a fixture
from .waiting import eventually


class Shop(Node):
    """Handles each once."""

    @subscription("order", durable=True, since="all", dedupe="10m", workers=3, retries=2, backoff=(0.01, 0.02))
    async def pack(self, payload: int, message: Any) -> None:
        self.send("packed", payload)
        if payload == 3 and message.deliveries < 3:
            raise OSError("not yet")


def in_redis(hive: HiveTest, *words: str | bytes) -> Any:
    async def ask() -> Any:
        async with Commands(Endpoint.parse(hive.settings.redis_url)) as commands:
            return await commands.execute(*words)

    return asyncio.run(ask())


def append_again(hive: HiveTest) -> int:
    """As a stream that was restored, or played again: the same messages behind those that are there."""
    stream = Names(hive.settings.name).stream("order")
    entries = in_redis(hive, "XRANGE", stream, "-", "+")
    for _, fields in entries:
        in_redis(hive, "XADD", stream, "*", *fields)
    return len(entries)


def counts(node: Node) -> tuple[int, int]:
    record = node.bound_durables[0].record()
    return record.handled, record.duplicate


def test_what_is_appended_twice_is_handled_once(hive: HiveTest) -> None:
    node = hive.start(Shop)
    hive.start(sender(1, 2, 4))
    eventually(lambda: counts(node) == (3, 0))
    assert append_again(hive) == 3
    eventually(lambda: counts(node) == (3, 3))
    eventually(lambda: node.bound_durables[0].record().acknowledged == 6)


def test_twins_that_are_in_hand_at_once_are_handled_once_also_when_one_is_tried_again(hive: HiveTest) -> None:
    first = hive.start(sender(1, 2, 3))
    eventually(lambda: first.bound_services[0].record().state == "finished")
    append_again(hive)
    node = hive.start(Shop)
    eventually(lambda: counts(node) == (3, 3))


def test_twins_that_a_dead_reader_left_hold_up_nobody_when_one_is_tried_again(hive: HiveTest) -> None:
    class Alone(Node):
        @subscription("order", durable=True, since="all", dedupe="10m", retries=2, backoff=(0.01, 0.02))
        async def pack(self, payload: int, message: Any) -> None:
            if message.deliveries < 3:
                raise OSError("not yet")

    first = hive.start(sender(3))
    eventually(lambda: first.bound_services[0].record().state == "finished")
    append_again(hive)
    names = Names(hive.settings.name)
    in_redis(hive, "XGROUP", "CREATE", names.stream("order"), "alone", "0")
    in_redis(hive, "XREADGROUP", "GROUP", "alone", "alone.9.e1", "STREAMS", names.stream("order"), ">")
    in_redis(hive, "HSET", names.readers(), "alone alone.9", "1")
    node = hive.start(Alone)
    eventually(lambda: counts(node) == (1, 1))


def test_another_life_of_the_sender_sends_other_messages(hive: HiveTest) -> None:
    node = hive.start(Shop)
    for _ in range(2):
        hive.start(sender(1))
    eventually(lambda: counts(node) == (2, 0))


def test_what_has_no_sender_is_always_handled(hive: HiveTest) -> None:
    node = hive.start(Shop)
    hive.start(sender(1))
    stream = Names(hive.settings.name).stream("order")
    for _ in range(2):
        in_redis(hive, "XADD", stream, "*", "b", b"7")
    eventually(lambda: counts(node) == (3, 0))


def test_a_redis_that_forgot_everything_holds_nobody_up(hive: HiveTest) -> None:
    node = hive.start(Shop)
    hive.start(sender(1))
    eventually(lambda: counts(node) == (1, 0))
    in_redis(hive, "FLUSHALL")
    hive.start(sender(2))
    eventually(lambda: counts(node) == (2, 0), within=20)


def test_who_dies_after_handling_and_before_acknowledging_handles_again(shop: Workshop) -> None:
    dies = "(print('packed 3', flush=True), open('killed', 'x').close(), os.kill(os.getpid(), 9))"
    body = f"{dies} if payload == 3 and not os.path.exists('killed') else None"
    shop.write("orders.py", SENDER.replace("COUNT", "6"))
    shop.write("shop.py", packer(body).replace("retries=2", "retries=2, dedupe='10m'"))
    shop.run("orders.py").says("sold")
    first = shop.run("shop.py")
    assert first.ends() == -9
    packed = (first.output + shop.run("shop.py").says("packed 5")).splitlines()
    assert sum(line.startswith("packed 3") for line in packed) == 2
    assert {int(line.split()[1]) for line in packed if line.startswith("packed")} == set(range(6))


# -- what Redis remembers


async def handle(table: Table, *sequences: int, window: float = 60.0, life: Reader | None = None) -> None:
    marks = [Mark("a.0", 1, sequence) for sequence in sequences]
    await table.streams.conclude("n", life or reader(), [(b"1-1", b"")], window, marks)


async def seen(table: Table, *sequences: int, group: str = GROUP, incarnation: int = 1) -> list[bool]:
    return await table.streams.seen("n", group, [Mark("a.0", incarnation, sequence) for sequence in sequences])


@pytest.mark.every_server
async def test_it_is_remembered_for_each_group_sender_and_life(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await handle(table, 1, 2, 5)
    assert await seen(table, 1, 2, 3, 4, 5, 6) == [True, True, False, False, True, False]
    assert await seen(table, 1, incarnation=2) == [False]
    assert await seen(table, 1, group="other") == [False]


async def test_it_is_forgotten_after_the_window(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await handle(table, 1, window=0.05)
    async with asyncio.timeout(5):
        while await seen(table, 1) != [False]:
            pass
    assert await table.commands.execute("PTTL", table.names.memory("n")) < 1000


async def test_of_one_sender_no_more_than_so_many_gaps_are_remembered_and_the_newest_are_kept(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await handle(table, *range(1, 2001, 2))
    (text,) = await table.commands.execute("HVALS", table.names.memory("n"))
    assert len(text.split()) == 257
    assert await seen(table, 1999, 1998, 1489, 1) == [True, False, True, False]


async def test_senders_of_whom_nothing_is_remembered_leave(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    for incarnation in range(300):
        mark = Mark("a.0", incarnation, 1)
        await table.streams.conclude("n", reader(), [(b"1-1", b"")], 0.001, [mark])
    assert await table.commands.execute("HLEN", table.names.memory("n")) < 60


async def test_garbage_in_its_place_holds_nobody_up(table: Table) -> None:
    await table.streams.join("n", GROUP, "0")
    await table.commands.execute("SET", table.names.memory("n"), "nonsense")
    await handle(table, 1)
    assert await seen(table, 1) == [True]
    await table.commands.execute("HSET", table.names.memory("n"), f"{GROUP} 1 a.0", "\x00 7-x@y -")
    assert await seen(table, 1) == [False]
    await handle(table, 1)
    assert await seen(table, 1) == [True]


@given(batches=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=10), max_size=8))
@settings(max_examples=40, deadline=None)
def test_what_is_remembered_is_what_was_handled(server: RedisServer, batches: list[list[int]]) -> None:
    async def check() -> None:
        table = Table(server.url, "once")
        await table.commands.execute("DEL", table.names.memory("n"), table.names.stream("n"))
        await table.streams.join("n", GROUP, "0")
        for batch in batches:
            await handle(table, *batch)
        known = {sequence for batch in batches for sequence in batch}
        assert await seen(table, *range(45)) == [sequence in known for sequence in range(45)]
        await table.commands.aclose()

    asyncio.run(check())


@pytest.mark.parametrize(
    "body",
    [b"7", b"{", b'{"v":1}', b'{"v":1,"n":"a.0","e":1,"s":0,"d":1}', b'{"v":1,"n":"","e":1,"s":1,"d":1}', b"[]"],
)
def test_what_is_no_message_of_a_sender_has_no_mark(body: bytes) -> None:
    assert mark_of(body) is None


@pytest.mark.parametrize("wrong", ["soon", "10", "0s", "31d", 600])
def test_a_window_is_a_span(wrong: Any) -> None:
    with pytest.raises(DeclarationError, match="write a span"):
        subscription("order", durable=True, dedupe=wrong)
