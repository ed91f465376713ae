"""What nodes and clients have of kept topics: since=, what passed by, and on_gap for what cannot be filled in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import orjson
import pytest

from hivemind import Node, Service, connect, service, subscription
from hivemind.testing import HiveTest

from .servers import RedisServer
from .waiting import eventually


@pytest.fixture
def hive(own_server: RedisServer) -> Iterator[HiveTest]:
    with HiveTest(own_server.url, "t") as made:
        yield made


def ghost(server: RedisServer, *sequences: int, topic: str = "x") -> None:
    """Messages of somebody who is not in the hive, as they would come if those between them were lost."""
    for number in sequences:
        said = {"v": 1, "n": "ghost.0", "e": 1, "s": number, "t": 1.5, "d": number}
        server.command("PUBLISH", f"hm:t:t:{topic}", orjson.dumps(said))


class Watcher(Node):
    """Remembers what it handled, and of which gaps it was told, where."""

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[int] = []
        self.gaps: list[tuple[Any, ...]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    @subscription("x*")
    async def take(self, payload: int) -> None:
        self.handled.append(payload)


class OnThread(Watcher):
    """Its hook blocks."""

    def on_gap(self, topic: str, sender: str, first: int, last: int) -> None:
        self.may_go_on.wait(10.0)
        self.gaps.append((topic, sender, first, last, self.is_on_loop))


class OnLoop(Watcher):
    """Its hook waits, and raises the first time."""

    async def on_gap(self, topic: str, sender: str, first: int, last: int) -> None:
        self.gaps.append((topic, sender, first, last, self.is_on_loop))
        if len(self.gaps) == 1:
            raise ValueError("a fault of the user's")


@pytest.mark.parametrize(("kind", "is_on_loop"), [(OnThread, False), (OnLoop, True)])
def test_a_node_is_told_of_each_gap_in_order(
    hive: HiveTest, own_server: RedisServer, kind: type[Watcher], is_on_loop: bool
) -> None:
    node = hive.start(kind)
    ghost(own_server, 1, 4, 6)
    ghost(own_server, 1, 3, topic="x2")
    told = [("x", "ghost.0", 2, 3), ("x", "ghost.0", 5, 5), ("x2", "ghost.0", 2, 2)]
    eventually(lambda: node.gaps == [(*gap, is_on_loop) for gap in told])
    eventually(lambda: node.handled == [1, 4, 6, 1, 3])  # the last may be handled while its hook runs


def test_no_message_waits_for_the_hook(hive: HiveTest, own_server: RedisServer) -> None:
    node = hive.start(OnThread)
    node.may_go_on.clear()
    ghost(own_server, 1, 4, 6)
    eventually(lambda: node.handled == [1, 4, 6])
    assert not node.gaps
    node.may_go_on.set()
    eventually(lambda: len(node.gaps) == 2)


def test_a_module_of_functions_has_the_hook_too(hive: HiveTest, own_server: RedisServer) -> None:
    module, gaps = ModuleType("greeter"), []

    @subscription("x")
    async def take(payload: int) -> None:
        del payload

    def on_gap(topic: str, sender: str, first: int, last: int) -> None:
        gaps.append((topic, sender, first, last))

    for function in (take, on_gap):
        function.__module__ = module.__name__
        vars(module)[function.__name__] = function
    hive.start(module)
    ghost(own_server, 1, 4)
    eventually(lambda: gaps == [("x", "ghost.0", 2, 3)])


class Thermometer(Node):
    """Sends so many numbers and says when they have arrived."""

    def __init__(self, count: int = 3) -> None:
        super().__init__()
        self.count = count
        self.is_done = threading.Event()

    @service("x-temp", keep="10m")
    def measure(self, service: Service) -> int:
        for number in range(1, self.count + 1):
            service.send(number)
            if number % 10 == 0:
                service.sleep_for(0.005)
        service.flush()
        self.is_done.set()
        return 1


class Late(Watcher):
    """Wants the last value of what is kept."""

    @subscription("x*", since=1)
    async def take_since(self, payload: int) -> None:
        self.handled.append(payload * 100)


def test_a_node_that_joins_late_gets_the_last_value(hive: HiveTest) -> None:
    assert hive.start(Thermometer()).is_done.wait(10.0)
    late = hive.start(Late)
    eventually(lambda: late.handled == [300])
    hive.send("x-live", 4)
    eventually(lambda: sorted(late.handled) == [4, 300, 400])


def test_a_client_may_begin_with_what_is_kept(hive: HiveTest, own_server: RedisServer) -> None:
    assert hive.start(Thermometer()).is_done.wait(10.0)
    with connect(f"{own_server.url}?hive=t") as client, client.subscribe("x*", since=2) as messages:
        client.send("x-live", "new")
        got = [messages.receive(5.0) for _ in range(3)]
        assert [one.payload for one in got if one is not None] == [2, 3, "new"]


def test_a_node_whose_connection_is_cut_handles_all_of_it_and_says_what_was_filled_in(
    hive: HiveTest, own_server: RedisServer
) -> None:
    node = hive.start(OnThread)
    sender = hive.start(Thermometer(3000))
    for least in range(200, 2400, 200):
        eventually(lambda: len(node.handled) >= least)  # noqa: B023
        own_server.command("CLIENT", "KILL", "TYPE", "pubsub")
    assert sender.is_done.wait(20.0)
    eventually(lambda: len(node.handled) >= 3000, within=10.0)
    assert node.handled == list(range(1, 3001))
    (record,) = node._hm.stats().subscriptions
    assert (record.missed, record.duplicate, node.gaps) == (0, 0, [])
    assert record.filled > 0
