"""What a test can do to a hive: turn its clock, kill, freeze, cut off, make Redis forget, deliver again."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hivemind import AsyncService, HivemindError, Node, Service, responder, service, subscription
from hivemind.testing import HiveTest, TestServer

from .waiting import eventually

HANDLED: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_handled() -> Iterator[None]:
    HANDLED.clear()
    yield
    HANDLED.clear()


@pytest.fixture(scope="module")
def fake_server() -> Iterator[str]:
    with TestServer(is_fake=True) as server:
        yield server.url


@pytest.fixture
def hive(request: pytest.FixtureRequest, hive_server: str) -> Iterator[HiveTest]:
    url = request.getfixturevalue("fake_server") if getattr(request, "param", "") == "fakeredis" else hive_server
    with HiveTest(url, f"test-{secrets.token_hex(4)}") as hive:
        yield hive


every_redis = pytest.mark.parametrize("hive", ["server", "fakeredis"], indirect=True)


class Orders(Node):
    """Sends nothing by itself; what it sends is kept."""

    @service("order", durable=True, every=3600.0)
    def sell(self, service: Service) -> None: ...


class Shop(Node):
    """Handles each order once it may."""

    def on_start(self) -> None:
        self.may = asyncio.Event()
        self.may.set()

    @subscription("order", durable=True, since="all", retries=3, backoff=(30.0, 300.0))
    async def pack(self, payload: Any, message: Any) -> None:
        HANDLED.append(f"{self.instance} begins {payload}")
        await self.may.wait()
        if payload == "bad" and message.deliveries < 3:
            raise ValueError("not yet")
        HANDLED.append(payload)


def handled(*wanted: str) -> None:
    """Wait until these have been handled."""
    eventually(lambda: [one for one in HANDLED if "begins" not in one] == [*wanted], within=15)


# -- the clock


def test_services_on_loop_and_thread_follow_the_clock(hive: HiveTest) -> None:
    class Clocks(Node):
        @service("async", every=10.0)
        async def tick(self, service: AsyncService) -> None:
            HANDLED.append("async")

        @service("thread", every=10.0)
        def tock(self, service: Service) -> None:
            HANDLED.append("thread")

        @service("sleeping")
        def sleeping(self, service: Service) -> None:
            HANDLED.append("sleeps")
            service.sleep_for(20.0)

        @service("sleeping.async")
        async def sleeping_async(self, service: AsyncService) -> None:
            HANDLED.append("sleeps async")
            await service.sleep_for(20.0)

    hive.start(Clocks)
    eventually(lambda: len(HANDLED) == 4)
    began = time.monotonic()
    hive.advance(60)
    assert time.monotonic() - began < 20
    counts = {what: HANDLED.count(what) for what in sorted(set(HANDLED))}
    assert counts == {"async": 7, "sleeps": 4, "sleeps async": 4, "thread": 7}


@every_redis
def test_a_message_is_tried_again_when_its_back_off_has_passed(hive: HiveTest) -> None:
    orders = hive.start(Orders)
    hive.start(Shop)
    orders.send("order", "bad")
    eventually(lambda: len(HANDLED) == 1)
    hive.advance(29)
    assert len(HANDLED) == 1
    hive.advance(2)
    assert len(HANDLED) == 2
    hive.advance(61)
    handled("bad")


def test_timers_of_a_handler_follow_the_clock(hive: HiveTest) -> None:
    class Slow(Node):
        @subscription("in")
        async def wait(self, payload: str) -> None:
            HANDLED.append("begins")
            await asyncio.sleep(120)
            HANDLED.append(payload)

    hive.start(Slow)
    hive.send("in", "x")
    eventually(lambda: HANDLED == ["begins"])
    hive.advance(121)
    handled("x")


def test_leases_hold_while_the_clock_is_turned(hive: HiveTest) -> None:
    orders, shops = hive.start(Orders), hive.start(Shop, replicas=2)
    for shop in shops:
        shop.may.clear()
    orders.send("order", "tea")
    eventually(lambda: len(HANDLED) == 1)
    hive.advance(60)
    assert len(HANDLED) == 1, "while a node lives nobody takes over what it handles"
    for shop in shops:
        let_go(shop)
    handled("tea")


def let_go(shop: Shop) -> None:
    """Let its handler go on."""
    assert shop._hm._loop is not None
    shop._hm._loop.call_soon_threadsafe(shop.may.set)


# -- kill


@every_redis
def test_what_a_killed_node_held_is_taken_over_when_its_lease_has_ended(hive: HiveTest) -> None:
    orders, first = hive.start(Orders), hive.start(Shop)
    first.may.clear()
    orders.send("order", "tea")
    eventually(lambda: HANDLED == ["shop.0 begins tea"])
    hive.start(Shop)
    hive.kill("shop.0")
    assert not [one for one in HANDLED if "begins" not in one], "it ends in the middle"
    hive.advance(8)
    handled("tea")
    assert "shop.1 begins tea" in HANDLED


def test_the_next_life_of_a_killed_node_has_its_number_and_what_it_held(hive: HiveTest) -> None:
    orders, first = hive.start(Orders), hive.start(Shop)
    first.may.clear()
    orders.send("order", "tea")
    eventually(lambda: HANDLED == ["shop.0 begins tea"])
    hive.kill(first)
    assert hive.start(Shop).instance == "shop.0"
    hive.advance(2)
    handled("tea")


def test_a_killed_node_says_no_goodbye(hive: HiveTest) -> None:
    class Polite(Node):
        def on_shutdown(self) -> None:
            self.send("goodbye", "all")

    hive.kill(hive.start(Polite))
    hive.expect_none("goodbye")
    hive.stop(hive.start(Polite))
    assert hive.expect("goodbye").payload == "all"


def test_a_handler_on_a_thread_of_a_killed_node_begins_nothing_more(hive: HiveTest) -> None:
    may = threading.Event()

    class Threads(Node):
        @subscription("in")
        def slow(self, payload: int) -> None:
            HANDLED.append(payload)
            may.wait(10)
            self.send("out", payload)

    node = hive.start(Threads)
    for number in range(3):
        hive.send("in", number)
    eventually(lambda: HANDLED == [0])
    hive.kill(node)
    may.set()
    hive.expect_none("out")
    assert HANDLED == [0]


def test_who_is_not_there_cannot_be_killed(hive: HiveTest) -> None:
    hive.start(Shop)
    with pytest.raises(HivemindError, match=r"robin\.0 does not run here; shop\.0 does"):
        hive.kill("robin.0")


# -- freeze


@every_redis
def test_others_take_over_from_a_frozen_node_and_what_it_did_then_counts_for_nothing(hive: HiveTest) -> None:
    orders, first = hive.start(Orders), hive.start(Shop)
    first.may.clear()
    orders.send("order", "tea")
    eventually(lambda: HANDLED == ["shop.0 begins tea"])
    hive.freeze(first)
    hive.start(Shop)
    hive.advance(8)
    handled("tea")
    hive.thaw(first)
    let_go(first)
    hive.advance(3)
    orders.send("order", "milk")
    eventually(lambda: "milk" in HANDLED, within=5)
    assert HANDLED.count("milk") == 1


def test_nothing_of_a_frozen_node_runs(hive: HiveTest) -> None:
    class Ticking(Node):
        @service("loop", every=1.0)
        async def tick(self, service: AsyncService) -> None:
            HANDLED.append("loop")

        @service("thread", every=1.0)
        def tock(self, service: Service) -> None:
            HANDLED.append("thread")

        @subscription("in")
        def handle(self, payload: str) -> None:
            HANDLED.append(payload)

    node = hive.start(Ticking)
    eventually(lambda: len(HANDLED) == 2)
    hive.freeze(node)
    hive.send("in", "x")
    before = len(HANDLED)
    hive.advance(10)
    assert len(HANDLED) == before
    hive.thaw(node)
    eventually(lambda: "x" in HANDLED)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_request_to_a_killed_responder_is_answered_by_another(hive: HiveTest, is_async: bool) -> None:
    may = threading.Event()

    class Calculator(Node):
        if is_async:

            @responder("sum")
            async def add(self, payload: list[int]) -> str:
                HANDLED.append(self.instance)
                await asyncio.to_thread(may.wait, 10)
                return self.instance

        else:

            @responder("sum")
            def add_on_thread(self, payload: list[int]) -> str:
                HANDLED.append(self.instance)
                may.wait(10)
                return self.instance

    hive.start(Calculator, replicas=2)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(hive.request, "sum", [1, 2], timeout=20)
        eventually(lambda: len(HANDLED) == 1)
        hive.kill(HANDLED[0])
        eventually(lambda: len(HANDLED) == 2, within=10)
        may.set()
        assert asked.result() == HANDLED[1] != HANDLED[0]


# -- Redis


@every_redis
def test_what_is_sent_while_redis_is_away_arrives_when_it_is_back(hive: HiveTest) -> None:
    orders = hive.start(Orders)
    hive.start(Shop)
    hive.drop_redis()
    orders.send("order", "tea")
    hive.advance(5)
    handled()
    hive.restore_redis()
    hive.advance(5)
    handled("tea")


@every_redis
def test_a_hive_goes_on_after_redis_has_forgotten_it(hive: HiveTest) -> None:
    orders = hive.start(Orders)
    hive.start(Shop)
    orders.send("order", "tea")
    handled("tea")
    hive.amnesia()
    hive.advance(20)
    orders.send("order", "milk")
    handled("tea", "milk")


def test_amnesia_is_of_one_hive_only(hive: HiveTest, hive_server: str) -> None:
    with HiveTest(hive_server, "other") as other:
        other.start(Orders)
        hive.amnesia()
        other.advance(3)
        assert other.start(Orders).instance == "orders.1"


@every_redis
def test_keys_keep_their_order_and_nothing_is_handled_twice(hive: HiveTest) -> None:
    class Ledger(Node):
        @subscription("order", durable=True, since="all", workers=4, order_by="who", dedupe="10m")
        async def write(self, payload: dict[str, int]) -> None:
            await asyncio.sleep(0)
            HANDLED.append((payload["who"], payload["number"]))

    orders = hive.start(Orders)
    hive.start(Ledger, replicas=2)
    for number in range(30):
        orders.send("order", {"who": number % 3, "number": number})
    eventually(lambda: len(HANDLED) == 30, within=10)
    for who in range(3):
        assert [number for one, number in HANDLED if one == who] == [*range(who, 30, 3)]


# -- once more


@every_redis
def test_a_message_is_delivered_again_as_after_a_crash(hive: HiveTest) -> None:
    orders = hive.start(Orders)
    hive.start(Shop)
    orders.send("order", "tea")
    message = hive.expect("order")
    handled("tea")
    eventually(lambda: delivered_again(hive, message), within=5)
    hive.advance(2)
    handled("tea", "tea")


def delivered_again(hive: HiveTest, message: Any) -> bool:
    try:
        hive.redeliver(message)
    except HivemindError:  # nobody has acknowledged it yet
        return False
    return True


def test_a_live_message_cannot_be_delivered_again(hive: HiveTest) -> None:
    hive.send("news", "x")
    with pytest.raises(HivemindError, match="only durable messages"):
        hive.redeliver(hive.expect("news"))
