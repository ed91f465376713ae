"""order_by=: the messages of one key are handled one after the other, in their order, however many handle them."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import defaultdict
from functools import partial
from typing import Any

import pytest

from hivemind import Node, Retry, subscription
from hivemind.errors import DeclarationError
from hivemind.testing import HiveTest

from .node_kit import Workshop
from .servers import RedisServer
from .test_durable import letters, sender
from .test_durable_nodes import shop as shop  # noqa: PLC0414 - a fixture
from .test_once import append_again, in_redis
from .test_streams import table as table  # noqa: PLC0414 - a fixture
from .waiting import eventually


class Log:
    """What handlers did, in order, and whether two of one key ran at once."""

    def __init__(self) -> None:
        self.done: defaultdict[Any, list[int]] = defaultdict(list)
        self.running: set[Any] = set()
        self.together = 0
        self.most = 0
        self._lock = threading.Lock()

    def begin(self, key: Any) -> None:
        with self._lock:
            self.together += key is not None and key in self.running
            self.running.add(key)
            self.most = max(self.most, len(self.running))

    def end(self, key: Any, number: int | None) -> None:
        with self._lock:
            self.running.discard(key)
            if number is not None:
                self.done[key].append(number)


PATIENT: Any = {"retries": 50, "backoff": (0.01, 0.02)}


def keyed_shop(log: Log, failing: float = 0.0, workers: int = 4) -> type[Node]:
    dice = random.Random(1)

    class Shop(Node):
        @subscription(
            "order",
            durable=True,
            since="all",
            workers=workers,
            order_by="customer.id",
            backoff=(0.01, 0.02),
            retries=50,
        )
        async def pack(self, payload: dict[str, Any]) -> None:
            key, number = (payload.get("customer") or {}).get("id"), payload["number"]
            log.begin(key)
            await asyncio.sleep(0.001 * dice.random())
            fails = dice.random() < failing
            log.end(key, None if fails else number)
            if fails:
                raise OSError("not now")

    return Shop


def orders(count: int, keys: int) -> list[dict[str, Any]]:
    dice = random.Random(2)
    return [{"customer": {"id": dice.randrange(keys)}, "number": number} for number in range(count)]


def test_each_key_has_its_order_with_many_workers_and_copies_and_handlers_that_fail(hive: HiveTest) -> None:
    log, sent = Log(), orders(600, 50)
    for _ in range(3):
        hive.start(keyed_shop(log, failing=0.2))
    hive.start(sender(*sent))
    eventually(lambda: sum(map(len, log.done.values())) == 600, within=30)
    assert {key: sorted(numbers) for key, numbers in log.done.items()} == log.done
    assert log.together == 0
    assert log.most > 4


def test_what_has_no_key_has_no_order_and_is_handled(hive: HiveTest) -> None:
    log = Log()
    hive.start(keyed_shop(log))
    odd: list[Any] = [{"number": 1}, {"customer": None, "number": 2}, {"customer": {"id": None}, "number": 3}]
    hive.start(sender(*odd, {"customer": {"id": ""}, "number": 4}))
    eventually(lambda: sorted(log.done[None] + log.done[""]) == [1, 2, 3, 4])


class Parks(Node):
    """Puts the first of key 1 off."""

    @subscription("order", durable=True, since="all", workers=4, order_by="key", retries=1)
    async def pack(self, payload: dict[str, int], message: Any) -> None:
        if payload["number"] == 0 and message.deliveries == 1:
            raise Retry(0.5)
        self.send("packed", payload["number"])


def test_a_message_that_is_put_off_holds_its_key_and_no_other(hive: HiveTest) -> None:
    hive.start(Parks)
    hive.start(sender(*[{"key": number % 2, "number": number} for number in range(6)]))
    packed = [hive.expect("packed", timeout=5).payload for _ in range(6)]
    assert packed == [1, 3, 5, 0, 2, 4]


def test_after_a_dead_letter_the_next_of_its_key_comes(hive: HiveTest) -> None:
    class Fails(Node):
        @subscription("order", durable=True, since="all", order_by="key", retries=0)
        async def pack(self, payload: dict[str, int]) -> None:
            if payload["number"] == 0:
                raise OSError("never")
            self.send("packed", payload["number"])

    hive.start(Fails)
    hive.start(sender(*[{"key": 7, "number": number} for number in range(3)]))
    assert [hive.expect("packed", timeout=5).payload for _ in range(2)] == [1, 2]
    eventually(lambda: len(letters(hive)) == 1)


def test_nothing_is_remembered_of_a_key_that_nobody_has_in_hand(hive: HiveTest) -> None:
    log = Log()
    node = hive.start(keyed_shop(log))
    hive.start(sender(*orders(100, 10)))
    eventually(lambda: node.bound_durables[0].record().acknowledged == 100)
    assert in_redis(hive, "KEYS", "*:k:*") == []


def test_order_and_dedupe_go_together(hive: HiveTest) -> None:
    handled: list[int] = []

    class Both(Node):
        @subscription("order", durable=True, since="all", workers=4, order_by="key", dedupe="10m")
        async def pack(self, payload: dict[str, int]) -> None:
            handled.append(payload["number"])

    first = hive.start(sender(*[{"key": 1, "number": number} for number in range(50)]))
    eventually(lambda: first.bound_services[0].record().state == "finished")
    append_again(hive)
    node = hive.start(Both)
    eventually(lambda: node.bound_durables[0].record().duplicate == 50)
    assert handled == list(range(50))


def test_a_redis_that_forgot_everything_holds_no_key_up(hive: HiveTest) -> None:
    log = Log()
    hive.start(keyed_shop(log))
    hive.start(sender(*orders(50, 5)))
    eventually(lambda: sum(map(len, log.done.values())) == 50)
    in_redis(hive, "FLUSHALL")
    hive.start(sender(*orders(50, 5)))
    eventually(lambda: sum(map(len, log.done.values())) == 100, within=20)


def sum_of(log: Log) -> int:
    return sum(map(len, log.done.values()))


def has_done(log: Log, count: int) -> bool:
    return sum_of(log) >= count


def test_connections_that_are_cut_again_and_again_cost_no_order(hive: HiveTest) -> None:
    log, count = Log(), 1500
    hive.start(keyed_shop(log, failing=0.05), replicas=3)
    hive.start(sender(*orders(count, 20)))
    for step in range(1, 9):
        eventually(partial(has_done, log, step * 100), within=30)
        in_redis(hive, "CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
    eventually(lambda: sum_of(log) == count, within=30)
    assert {key: sorted(numbers) for key, numbers in log.done.items()} == log.done
    assert log.together == 0


def test_a_redis_that_is_killed_and_has_its_data_costs_no_order(own_server: RedisServer) -> None:
    log, count = Log(), 1000
    with HiveTest(own_server.url) as hive:
        hive.start(keyed_shop(log), replicas=2)
        hive.start(sender(*orders(count, 20)))
        eventually(lambda: sum_of(log) > 200, within=30)
        own_server.restart(keep_data=True, kill=True)
        eventually(lambda: sum_of(log) >= count, within=30)
    assert {key: sorted(set(numbers)) for key, numbers in log.done.items()} == log.done


REPLICA = """
    import os, random
    from hivemind import Node, subscription

    class Shop(Node):
        @subscription("order-*", durable=True, since="all", workers=4, order_by="key", retries=50, backoff=(0.01, 0.05))
        def pack(self, payload):
            time = random.random()
            if time < 0.1:
                raise OSError("not now")
            line = f"{payload['key']} {payload['number']}\\n"
            with open("done", "a") as file:
                file.write(line)
"""
ACKNOWLEDGED_TOGETHER = 16
CUSTOMERS = """
    import random
    from hivemind import Node, service

    class Orders(Node):
        @service("order-new", durable=True)
        def sell(self, service):
            for number in range(3000):
                service.send({"key": f"customer {random.randrange(50)}", "number": number})
                if number % 300 == 0:
                    service.sleep_for(0.3)
            service.flush()
            print("sold", flush=True)
            return 1
"""


def test_each_key_has_its_order_though_copies_are_killed(shop: Workshop) -> None:
    shop.write("orders.py", CUSTOMERS)
    shop.write("shop.py", REPLICA)
    copies = [shop.run("shop.py", "--number", str(number)) for number in range(3)]
    for copy in copies:
        copy.says("running")
    orders = shop.run("orders.py")
    done = shop.folder / "done"

    def lines() -> list[list[str]]:
        return [line.rsplit(" ", 1) for line in done.read_text().splitlines()] if done.exists() else []

    eventually(lambda: len(lines()) > 300, within=20)
    copies[0].signal(9)
    eventually(lambda: len(lines()) > 1500, within=20)
    copies[1].signal(9)
    shop.run("shop.py", "--number", "0").says("running")
    orders.says("sold")
    eventually(lambda: len({number for _, number in lines()}) == 3000, within=30)
    by_key: defaultdict[str, list[int]] = defaultdict(list)
    for key, number in lines():
        by_key[key].append(int(number))
    assert len(by_key) == 50
    assert {key: sorted(numbers) for key, numbers in by_key.items()} == by_key
    assert len(lines()) <= 3000 + 2 * (4 + ACKNOWLEDGED_TOGETHER)  # in hand, or not told yet


@pytest.mark.parametrize("wrong", ["", ".", "a..b", "a b", 7, "x" * 129])
def test_a_path_leads_to_a_field(wrong: Any) -> None:
    with pytest.raises(DeclarationError, match="order_by="):
        subscription("order", durable=True, order_by=wrong)
