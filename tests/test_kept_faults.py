"""What Redis may do to kept topics while they are in use: lose them, have something else there, have no memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hivemind import AsyncService, Node, service, subscription
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.testing import HiveTest
from hivemind.topics import Names

from .node_kit import Workshop, registered, workshop
from .servers import RedisServer
from .waiting import eventually


class Till(Node):
    """Sends what it is told to, and flushes."""

    @service("order", durable=True)
    async def sell(self, service: AsyncService) -> int:
        return 1

    def sends(self, *numbers: int) -> None:
        for number in numbers:
            self.send("order", number)
        self.flush(5.0)


class Shop(Node):
    """Reads durably, and says so."""

    @subscription("order", durable=True, since="new")
    async def pack(self, payload: Any) -> None:
        self.send("packed", payload)


def ask(hive: HiveTest, *words: str) -> Any:
    async def command() -> Any:
        async with Commands(Endpoint.parse(hive.settings.redis_url)) as commands:
            return await commands.execute(*words)

    return asyncio.run(command())


def delete(hive: HiveTest) -> None:
    ask(hive, "DEL", Names(hive.settings.name).stream("order"))


def flush(hive: HiveTest) -> None:
    ask(hive, "FLUSHALL")


def spoil(hive: HiveTest) -> None:
    ask(hive, "SET", Names(hive.settings.name).stream("order"), "nonsense")


Fault = Callable[[HiveTest], None]
each_fault = pytest.mark.parametrize("fault", [delete, flush, spoil])


def packed(hive: HiveTest, count: int) -> list[Any]:
    return [hive.expect("packed", timeout=10).payload for _ in range(count)]


@each_fault
def test_a_stream_that_is_lost_is_made_anew_and_what_is_sent_from_then_on_arrives(
    hive: HiveTest, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    hive.start(Shop)
    till = hive.start(Till)
    till.sends(*range(100))
    assert packed(hive, 100) == list(range(100))
    for first in (100, 200):
        fault(hive)
        till.sends(*range(first, first + 50))
        assert packed(hive, 50) == list(range(first, first + 50))
    hive.expect_none("packed")
    eventually(lambda: "the stream of order was removed" in caplog.text)


@pytest.mark.parametrize("fault", [delete, spoil])
def test_a_group_that_is_down_while_the_stream_is_lost_misses_nothing_that_is_sent_from_then_on(
    hive: HiveTest, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    shop = hive.start(Shop)
    till = hive.start(Till)
    till.sends(1)
    assert packed(hive, 1) == [1]
    hive.stop(shop)
    fault(hive)
    till.sends(2, 3)
    eventually(lambda: "the stream of order was removed" in caplog.text)
    hive.start(Shop)
    till.sends(4)
    assert packed(hive, 3) == [2, 3, 4]


SENDER = """
    import os
    from hivemind import Node, Refused, service

    class Orders(Node):
        @service("order", durable=True)
        def sell(self, service):
            number = 0
            while not os.path.exists("enough"):
                service.send([number, "x" * 5000])
                try:
                    service.flush(1.0)
                    print("stored", number, flush=True)
                except Refused as error:
                    print("refused", number, error, flush=True)
                number += 1
                service.sleep_for(0.005)
            for _ in range(1000):
                service.send([number, ""])
                number += 1
            print("waiting", flush=True)
            service.flush(30.0)
            print("stored up to", number, flush=True)
            return 1
"""
SHOP = """
    from hivemind import Node, subscription

    class Shop(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload):
            print("packed", payload[0], flush=True)
"""


@pytest.fixture
def shop(tmp_path: Path, own_server: RedisServer) -> Iterator[Workshop]:
    with workshop(tmp_path, own_server, "full") as made:
        yield made


def numbers(output: str, word: str) -> list[int]:
    found = [line.split() for line in output.splitlines() if line.startswith(f"{word} ")]
    return [int(words[1]) for words in found if words[1].isdigit()]


def test_a_redis_without_memory_loses_nothing_and_kills_nobody(shop: Workshop, own_server: RedisServer) -> None:
    shop.write("orders.py", SENDER)
    shop.write("shop.py", SHOP)
    reader, sender = shop.run("shop.py"), shop.run("orders.py")
    sender.says("stored 5")
    reader.says("packed 5")
    used = int(own_server.command("INFO", "memory").partition("used_memory:")[2].split()[0])
    own_server.command("CONFIG", "SET", "maxmemory", used + 256 * 1024, "maxmemory-policy", "noeviction")
    lives = [registered(own_server, "full", instance) for instance in ("orders.0", "shop.0")]
    sender.says("refused", times=3)  # seconds in which leases would have ended
    now = [registered(own_server, "full", instance) for instance in ("orders.0", "shop.0")]
    assert [one and one["incarnation"] for one in now] == [one and one["incarnation"] for one in lives]
    (shop.folder / "enough").touch()
    sender.says("waiting")
    own_server.command("CONFIG", "SET", "maxmemory", 0)
    last = int(sender.says("stored up to").rpartition("stored up to ")[2].split()[0])
    reader.says(f"packed {last - 1}\n")
    sent = [*numbers(sender.output, "stored"), *range(last - 1000, last)]
    assert numbers(reader.output, "packed") == sent
    assert not set(numbers(sender.output, "refused")) & set(sent)
    assert "registering again" not in sender.output + reader.output
