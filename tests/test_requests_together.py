"""Requests that are asked in one turn of the loop travel together; each has its own responder, and its own deadline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hivemind import InvalidRequest, Node, NoResponders, RequestTimeout, responder
from hivemind.bus.asking import MOST
from hivemind.bus.deadlines import TICK, Deadlines
from hivemind.testing import HiveTest

from .waiting import eventually


class Patient(Node):
    """Keeps every request until it is told."""

    @responder("keep", workers=2 * MOST)
    async def keep(self, payload: dict[str, Any]) -> list[Any]:
        self.send("kept", payload["number"])
        await self.may_go.wait()
        return [self.instance, payload]

    async def on_start(self) -> None:
        self.may_go = asyncio.Event()


def asking(hive: HiveTest, count: int, **what: Any) -> Any:
    """Begin to ask so many at once, in the client's loop."""

    async def ask() -> list[Any]:
        each = [hive._client.request("keep", {"number": number}, **what) for number in range(count)]
        return await asyncio.gather(*each, return_exceptions=True)

    assert hive._client._loop is not None
    return asyncio.run_coroutine_threadsafe(ask(), hive._client._loop)


def test_each_goes_to_who_has_the_fewest_in_hand(hive: HiveTest) -> None:
    nodes = [hive.start(Patient) for _ in range(3)]
    first = asking(hive, 3 * MOST + 3, timeout=30.0)
    eventually(lambda: sum(in_hand(nodes)) == 3 * MOST + 3)
    assert max(in_hand(nodes)) - min(in_hand(nodes)) <= 3  # counts may be put right under way
    nodes.append(hive.start(Patient))
    second = asking(hive, MOST, timeout=30.0)
    eventually(lambda: sum(in_hand(nodes)) == 4 * MOST + 3)
    assert in_hand(nodes)[3] >= MOST - 3
    for node in nodes:
        hive._client.call(_let_go(node))
    replies = [*first.result(20), *second.result(20)]
    assert [payload["number"] for _, payload in replies] == [*range(3 * MOST + 3), *range(MOST)]


def in_hand(nodes: list[Patient]) -> list[int]:
    """How many requests each has."""
    return [node.bound_responders[0].in_hand for node in nodes]


async def _let_go(node: Patient) -> None:
    assert node._hm._loop is not None
    node._hm._loop.call_soon_threadsafe(node.may_go.set)


def test_an_object_passes_as_it_is_and_what_is_none_is_refused(hive: HiveTest) -> None:
    node = hive.start(Patient)
    hive._client.call(_let_go(node))
    assert hive.request("keep", {"number": 1, "more": None}) == [node.instance, {"number": 1, "more": None}]
    with pytest.raises(InvalidRequest, match="payload: Input should be a valid dictionary, not list"):
        hive.request("keep", [1])


def test_where_nobody_is_each_is_told_so(hive: HiveTest) -> None:
    assert [type(one) for one in asking(hive, 2 * MOST, timeout=60.0).result(20)] == [NoResponders] * 2 * MOST


def test_each_has_its_own_deadline_whatever_was_asked_before(hive: HiveTest) -> None:
    hive.start(Patient)
    ended: list[float] = []

    async def ask(timeout: float) -> None:
        try:
            await hive._client.request("keep", {"number": 0}, timeout=timeout)
        except RequestTimeout:
            ended.append(timeout)

    async def ask_all() -> None:
        await asyncio.gather(*map(ask, (30.0, 0.5, 0.1, 0.9, 0.3)), return_exceptions=True)

    asked = asyncio.run_coroutine_threadsafe(ask_all(), hive._client._loop)  # type: ignore[arg-type]
    eventually(lambda: len(ended) == 4, within=20)
    assert ended == [0.1, 0.3, 0.5, 0.9]
    asked.cancel()


async def test_among_a_thousand_each_is_told_in_order_once_and_not_before_its_time() -> None:
    loop = asyncio.get_running_loop()
    waiting: dict[int, One] = {}
    told: list[int] = []
    all_told = asyncio.Event()

    class One:
        def __init__(self, number: int) -> None:
            self.number, self.deadline = number, began + number / 10_000

        def expired(self) -> None:
            assert loop.time() + TICK >= self.deadline
            told.append(self.number)
            del waiting[self.number]
            if not waiting:
                all_told.set()

    began, deadlines = loop.time(), Deadlines(waiting)
    for number in sorted(range(1000), key=lambda one: one % 7):
        one = waiting[number] = One(number)
        deadlines.watch(one.deadline)
    async with asyncio.timeout(20):
        await all_told.wait()
    assert told == list(range(1000))
    deadlines.close()
