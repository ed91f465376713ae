"""Readers in processes of their own that die or stand still, with the lease and the beat that are shipped."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .node_kit import NodeProcess, Workshop, workshop
from .servers import RedisServer
from .waiting import eventually

SHIPPED = {"HIVEMIND_HEARTBEAT": "2", "HIVEMIND_LEASE": "6"}
WITHIN = 8.0  # seconds: a lease, and a look
SENDER = """
    from hivemind import Node, service

    class Orders(Node):
        @service("order-new", durable=True)
        def sell(self, service):
            for number in range(5):
                service.send(number)
            service.flush()
            print("sold", flush=True)
            return 1
"""
SHOP = """
    import asyncio, os, time
    from hivemind import Node, subscription

    class Shop(Node):
        @subscription("order-*", durable=True, since="all", retries=1)
        ASYNC def pack(self, payload):
            print("begins", payload, time.time(), flush=True)
            while payload == 0 and not os.path.exists("go"):
                SLEEP(0.01)
            print("packed", payload, flush=True)
"""


@pytest.fixture
def shop(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, server, hive_name) as made:
        yield made


def holding(shop: Workshop, *, is_async: bool) -> NodeProcess:
    """A reader with a message in its handler, and four that wait for that."""
    code = SHOP.replace("ASYNC ", "async ").replace("SLEEP", "await asyncio.sleep")
    shop.write("shop.py", code if is_async else SHOP.replace("ASYNC ", "").replace("SLEEP", "time.sleep"))
    shop.write("orders.py", SENDER)
    first = shop.run("shop.py", "--number", "0", **SHIPPED)
    first.says("running")
    shop.run("orders.py", **SHIPPED).says("sold")
    first.says("begins 0")
    return first


def begun(process: NodeProcess) -> list[int]:
    """What its handler was called with."""
    return [int(line.split()[1]) for line in process.output.splitlines() if line.startswith("begins")]


@pytest.mark.alone
@pytest.mark.slow
def test_what_was_in_the_hands_of_who_is_killed_is_with_another_within_eight_seconds(shop: Workshop) -> None:
    first = holding(shop, is_async=True)
    second = shop.run("shop.py", "--number", "1", **SHIPPED)
    second.says("running")
    killed = time.time()
    first.signal(signal.SIGKILL)
    second.says("begins 0", within=WITHIN + 5)
    (line,) = (line for line in second.output.splitlines() if line.startswith("begins 0"))
    assert float(line.split()[2]) - killed < WITHIN
    (shop.folder / "go").touch()
    second.says("packed 4")
    assert begun(second) == [0, 1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [True, pytest.param(False, marks=pytest.mark.drill)])
def test_who_was_frozen_while_another_took_over_begins_nothing_of_it(shop: Workshop, is_async: bool) -> None:
    first = holding(shop, is_async=is_async)
    first.signal(signal.SIGSTOP)
    second = shop.run("shop.py", "--number", "1", **SHIPPED)
    second.says("begins 0", within=WITHIN + 10)
    (shop.folder / "go").touch()
    second.says("packed 4")
    first.signal(signal.SIGCONT)
    first.says("took over")
    shop.run("orders.py", **SHIPPED).says("sold")
    eventually(lambda: len(begun(first) + begun(second)) == 11, within=10)
    again = begun(first)[1:] + begun(second)[5:]
    assert sorted(again) == [0, 1, 2, 3, 4]
    assert begun(second)[:5] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_a_handler_that_takes_longer_than_a_lease_runs_once(shop: Workshop) -> None:
    first = holding(shop, is_async=False)
    second = shop.run("shop.py", "--number", "1", **SHIPPED)
    second.says("running")
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > WITHIN + 1, within=WITHIN + 5)
    (shop.folder / "go").touch()
    first.says("packed 4")
    assert (begun(first), begun(second)) == ([0, 1, 2, 3, 4], [])
