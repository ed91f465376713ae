"""Requests, in one process: who answers, what comes back, what goes wrong, and who is told when nobody waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from hivemind import (
    DeclarationError,
    InvalidRequest,
    Node,
    NoResponders,
    PayloadError,
    RemoteError,
    RequestTimeout,
    Service,
    connect,
    responder,
    service,
    subscription,
)
from hivemind.bus import responding
from hivemind.errors import HivemindError, InvalidName
from hivemind.testing import HiveTest

from .waiting import eventually


class Abacus(Node):
    """Answers, in every way there is."""

    @responder("sum")
    async def add(self, numbers: list[float]) -> float:
        return sum(numbers)

    @responder("sum.thread")
    def add_on_thread(self, numbers: list[float]) -> float:
        return sum(numbers)

    @responder("who")
    async def who(self, payload: Any, message: Any, node: Node) -> list[Any]:
        return [payload, message.topic, message.sender, dict(message.headers).get("colour"), node.name]

    @responder("fail")
    async def fail(self, payload: Any) -> None:
        raise OSError("the abacus is broken")

    @responder("liar")
    async def liar(self, payload: Any) -> int:
        return "three"  # type: ignore[return-value]

    @responder("strange")
    async def strange(self, payload: Any) -> Any:
        return object()

    @responder("bytes")
    async def reverse(self, payload: bytes) -> bytes:
        return payload[::-1]

    @responder("cancel.self")
    async def cancels_itself(self, payload: Any) -> None:
        raise asyncio.CancelledError("I changed my mind")


class Sleepy(Node):
    """Takes as long as it is told, and says what became of it."""

    @responder("sleep", workers=2)
    async def sleep(self, seconds: float) -> str:
        self.send("began", seconds)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.send("cancelled", seconds)
            raise
        self.send("ended", seconds)
        return "slept"


@pytest.mark.parametrize("name", ["sum", "sum.thread"])
def test_a_responder_returns_the_reply(hive: HiveTest, name: str) -> None:
    hive.start(Abacus)
    assert hive.request(name, [1, 2, 3.5]) == 6.5
    assert [hive.request(name, [n, n]) for n in range(50)] == [2 * n for n in range(50)]


def test_a_question_may_be_without_arguments(hive: HiveTest) -> None:
    class Pricer(Node):
        @responder("prices")
        async def prices(self) -> dict[str, float]:
            return {"tea": 2.5}

        @responder("name")
        def name_it(self, node: Node) -> str:
            return node.name

        @responder("stock", stream=True)
        async def stock(self) -> AsyncIterator[str]:
            yield "tea"

        @responder("stock.thread", stream=True)
        def stock_on_thread(self) -> Iterator[str]:
            yield "milk"

    hive.start(Pricer)
    assert hive.request("prices") == hive.request("prices", "whatever it is") == {"tea": 2.5}
    assert hive.request("name") == "pricer"
    assert list(hive.request_stream("stock")) == ["tea"]
    assert list(hive.request_stream("stock.thread")) == ["milk"]


def test_what_cannot_be_bound_says_where_it_is_written_and_says_it_once(hive: HiveTest) -> None:
    class Greedy(Node):
        @responder("prices")
        async def prices(self, what: str, when: str) -> None: ...

    class Deaf(Node):
        @subscription("prices")
        async def listen(self) -> None: ...

    place = r"^(?!.*\.py:\d+: .*\.py:\d+: ).*test_requests\.py:\d+: "
    with pytest.raises(DeclarationError, match=rf"{place}.*prices: a responder takes the payload .* not when"):
        hive.start(Greedy)
    with pytest.raises(DeclarationError, match=rf"{place}.*listen: a handler has to take the payload"):
        hive.start(Deaf)


def test_bytes_go_and_come_back(hive: HiveTest) -> None:
    hive.start(Abacus)
    assert hive.request("bytes", b"\x00\xff") == b"\xff\x00"


def test_a_handler_may_ask_for_the_message_and_the_node(hive: HiveTest) -> None:
    hive.start(Abacus)
    with connect(f"{hive.settings.redis_url}?hive={hive.settings.name}") as client:
        reply = client.request("who", 1, headers={"colour": "blue"})
        assert reply == [1, "who", client.bus.instance, "blue", "abacus"]


def test_what_the_responder_raises_comes_back_with_its_traceback(hive: HiveTest) -> None:
    node = hive.start(Abacus)
    with pytest.raises(RemoteError, match=r"abacus\.0 raised OSError: the abacus is broken") as caught:
        hive.request("fail")
    assert (caught.value.kind, caught.value.text) == ("OSError", "the abacus is broken")
    assert 'raise OSError("the abacus is broken")' in caught.value.remote_traceback
    assert next(one for one in node.bound_responders if one.name == "fail").record().failed == 1


def test_a_payload_that_does_not_fit_is_refused_with_the_reason(hive: HiveTest) -> None:
    node = hive.start(Abacus)
    with pytest.raises(InvalidRequest, match=r"payload\[1\]: Input should be a valid number"):
        hive.request("sum", [1, "two"])
    record = node.bound_responders[0].record()
    assert (record.received, record.handled, record.invalid) == (1, 0, 1)


@pytest.mark.parametrize(
    ("name", "reason"), [("liar", "the reply: payload: Input should be a valid integer"), ("strange", "no JSON form")]
)
def test_a_reply_that_does_not_fit_its_annotation_is_the_responders_fault(
    hive: HiveTest, name: str, reason: str
) -> None:
    hive.start(Abacus)
    with pytest.raises(RemoteError, match=reason):
        hive.request(name)


def test_a_handler_that_cancels_itself_failed(hive: HiveTest) -> None:
    hive.start(Abacus)
    with pytest.raises(RemoteError, match="CancelledError: I changed my mind"):
        hive.request("cancel.self")


def test_nobody_there_is_said_at_once_whoever_listens_in(hive: HiveTest) -> None:
    tap = hive._client.subscribe("*")
    with tap, connect(f"{hive.settings.redis_url}?hive={hive.settings.name}") as client:
        with pytest.raises(NoResponders, match="nobody answers to it"):
            client.request("nobody")
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(NoResponders):
                client.request("nobody", timeout=60)
        assert time.monotonic() - began < 2.0


def test_a_node_that_stopped_answers_no_more_and_another_does(hive: HiveTest) -> None:
    first, second = hive.start(Abacus), hive.start(Abacus)
    hive.stop(first)
    assert hive.request("who")[4] == "abacus"
    hive.stop(second)
    with pytest.raises(NoResponders):
        hive.request("who")


def test_too_late_is_an_error_of_its_own_and_the_handler_is_cancelled(hive: HiveTest) -> None:
    node = hive.start(Sleepy)
    with pytest.raises(RequestTimeout, match="no answer came in time") as caught:
        hive.request("sleep", 30, timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert hive.expect("cancelled").payload == 30
    eventually(lambda: node.bound_responders[0].record().cancelled == 1)
    assert node.bound_responders[0].record().in_hand == 0


async def test_who_is_cancelled_cancels_the_responder(hive: HiveTest) -> None:
    await asyncio.to_thread(hive.start, Sleepy)
    async with connect(f"{hive.settings.redis_url}?hive={hive.settings.name}") as client:
        asking = asyncio.create_task(client.request("sleep", 30, timeout=60))
        await asyncio.to_thread(hive.expect, "began")
        asking.cancel()
        assert (await asyncio.to_thread(hive.expect, "cancelled")).payload == 30


def test_more_than_there_are_workers_wait_in_order(hive: HiveTest) -> None:
    class Slow(Node):
        running = most = 0

        @responder("slow", workers=2)
        async def slow(self, number: int) -> list[int]:
            self.running += 1
            self.most = max(self.most, self.running)
            self.send("began", number)
            await asyncio.sleep(0.01)
            self.running -= 1
            return [number, self.most]

    async def ask() -> list[Any]:
        return await asyncio.gather(*(hive._client.request("slow", number) for number in range(10)))

    hive.start(Slow)
    replies = hive._client.call(ask())
    assert [number for number, _ in replies] == list(range(10))
    assert max(most for _, most in replies) == 2
    assert [hive.expect("began").payload for _ in range(10)] == list(range(10))


def test_what_waits_too_long_for_a_worker_is_not_begun(hive: HiveTest) -> None:
    class Blocked(Node):
        may_go = threading.Event()

        @responder("block")
        def block(self, number: int) -> int:
            self.send("began", number)
            self.may_go.wait(10)
            return number

    async def ask() -> list[Any]:
        each = [hive._client.request("block", number, timeout=0.3) for number in range(3)]
        return await asyncio.gather(*each, return_exceptions=True)

    node = hive.start(Blocked)
    Blocked.may_go.set()
    assert hive.request("block", -1) == -1  # from now on all is connected
    Blocked.may_go.clear()
    assert [type(one) for one in hive._client.call(ask())] == [RequestTimeout] * 3
    in_hand = node.bus.requests.answering._posts["block"]._in_hand
    eventually(lambda: not in_hand)
    Blocked.may_go.set()

    def cancelled() -> bool:
        assert node.bound_responders[0].record().cancelled == 3, node.bound_responders[0].record()
        return True

    eventually(cancelled)
    assert hive.request("block", 7) == 7
    assert [hive.expect("began").payload for _ in range(3)] == [-1, 0, 7]


def test_a_thousand_at_once_are_all_answered_and_shared_evenly(hive: HiveTest) -> None:
    class Worker(Node):
        @responder("work")
        async def work(self, number: int) -> list[Any]:
            return [self.instance, number]

    async def ask() -> list[Any]:
        return await asyncio.gather(*(hive._client.request("work", number, timeout=30) for number in range(1000)))

    for _ in range(4):
        hive.start(Worker)
    replies = hive._client.call(ask())
    assert [number for _, number in replies] == list(range(1000))
    shares = {instance: sum(one[0] == instance for one in replies) for instance, _ in replies}
    assert len(shares) == 4
    assert min(shares.values()) > 150


def test_one_after_the_other_they_take_turns(hive: HiveTest) -> None:
    class Turn(Node):
        @responder("turn")
        async def turn(self, payload: Any) -> str:
            return self.instance

    for _ in range(3):
        hive.start(Turn)
    found = [hive.request("turn") for _ in range(30)]
    assert min(found.count(f"turn.{number}") for number in range(3)) >= 8


def test_services_ask_too_on_threads_and_on_the_loop(hive: HiveTest) -> None:
    class Asker(Node):
        @service("answer.thread")
        def ask(self, service: Service) -> int:
            service.send(self.request("sum", [1, 2]))
            return 1

        @service("answer.loop")
        async def ask_on_loop(self, service: Service) -> int:
            service.send(await self.request("sum", [3, 4]))
            return 1

    hive.start(Abacus)
    hive.start(Asker)
    assert hive.expect("answer.thread").payload == 3
    assert hive.expect("answer.loop").payload == 7


def test_responders_may_be_added_by_hand(hive: HiveTest) -> None:
    class Plain(Node):
        def services(self) -> None:
            self.add_responder("double", self.double, workers=3)

        def double(self, number: int) -> int:
            return number * 2

    node = hive.start(Plain)
    assert hive.request("double", 21) == 42
    assert node._hm.stats().responders[0].workers == 3


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), True])
def test_a_time_that_cannot_be_is_refused_in_the_caller(hive: HiveTest, wrong: float) -> None:
    with pytest.raises(ValueError, match="use seconds, above 0"):
        hive.request("sum", [1], timeout=wrong)


def test_what_cannot_be_asked_is_refused_in_the_caller(hive: HiveTest) -> None:
    with pytest.raises(PayloadError):
        hive.request("sum", object())
    with pytest.raises(InvalidName):
        hive.request("what a name", 1)


def test_declarations_that_cannot_be_are_refused() -> None:
    async def yields(payload: Any) -> AsyncIterator[int]:
        yield 1

    async def returns(payload: Any) -> int:
        return 1

    class Twice(Node):
        @responder("a")
        async def one(self, payload: Any) -> None: ...

        @responder("a")
        async def other(self, payload: Any) -> None: ...

    node = Node("n")
    with pytest.raises(DeclarationError, match="write stream=True"):
        node.add_responder("a", yields)
    with pytest.raises(DeclarationError, match="for a function that yields"):
        node.add_responder("a", returns, stream=True)
    with pytest.raises(DeclarationError, match="workers=0"):
        node.add_responder("a", returns, workers=0)
    with pytest.raises(DeclarationError, match="two responders are called 'a'"):
        Twice()._hm.bind()


def test_a_stopping_node_finishes_what_it_has_and_hands_back_what_it_has_not_begun(hive: HiveTest) -> None:
    class Slow(Node):
        @responder("slow")
        async def slow(self, number: int) -> list[Any]:
            self.send("began", self.instance)
            await asyncio.sleep(0.3)
            return [number, self.instance]

    async def ask(number: int) -> Any:
        return await hive._client.request("slow", number, timeout=10)

    first = hive.start(Slow)
    asked = [asyncio.run_coroutine_threadsafe(ask(number), hive._client._loop) for number in range(2)]  # type: ignore[arg-type]
    assert hive.expect("began").payload == "slow.0"
    eventually(lambda: first.bound_responders[0].in_hand == 2)
    hive.start(Slow)
    hive.stop(first)
    assert [one.result(10) for one in asked] == [[0, "slow.0"], [1, "slow.1"]]


class Advisor(Node):
    """Answers at once."""

    @responder("advice")
    async def advise(self, number: int) -> int:
        """Say what it was asked."""
        return number


def test_what_finds_nobody_while_a_successor_comes_waits_for_it(hive: HiveTest) -> None:
    old = hive.start(Advisor)
    assert hive.request("advice", 1) == 1
    old.bus.requests.answering.is_followed = True
    hive.stop(old)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(hive.request, "advice", 2, timeout=20.0)
        assert not wait([asked], timeout=1.5).done  # longer than for one whose connection was cut
        new = hive.start(Advisor)
        assert asked.result(10) == 2
    hive.stop(new)
    with pytest.raises(NoResponders):
        hive.request("advice", 3)


def test_a_successor_that_never_comes_is_not_waited_for_for_ever(
    hive: HiveTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responding, "FOLLOWS", 0.5)
    old = hive.start(Advisor)
    old.bus.requests.answering.is_followed = True
    hive.stop(old)
    with pytest.raises(NoResponders):
        hive.request("advice", 1, timeout=20.0)


class Counter(Node):
    """Answers with many."""

    @responder("count", stream=True)
    async def count(self, most: int) -> AsyncIterator[int]:
        try:
            for number in range(most):
                self.last = number
                yield number
        finally:
            self.send("closed", most)

    @responder("count.thread", stream=True)
    def count_on_thread(self, most: int) -> Iterator[int]:
        try:
            yield from range(most)
        finally:
            self.send("closed", most)

    @responder("break", stream=True, workers=2)
    async def breaks(self, after: int) -> AsyncIterator[int]:
        for number in range(after):
            yield number
        raise OSError("no more beads")

    @responder("stall", stream=True)
    async def stall(self, payload: Any) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)


@pytest.mark.parametrize("name", ["count", "count.thread"])
@pytest.mark.parametrize("most", [0, 1, 64, 300])
def test_a_stream_yields_all_in_order(hive: HiveTest, name: str, most: int) -> None:
    hive.start(Counter)
    assert list(hive.request_stream(name, most)) == list(range(most))


async def test_a_stream_is_iterated_on_the_loop_too(hive: HiveTest) -> None:
    await asyncio.to_thread(hive.start, Counter)
    async with connect(f"{hive.settings.redis_url}?hive={hive.settings.name}") as client:
        assert [part async for part in client.request_stream("count", 200)] == list(range(200))
        async with client.request_stream("count", 10_000) as parts:
            assert await anext(parts) == 0
    assert (await asyncio.to_thread(hive.expect, "closed")).payload == 200
    assert (await asyncio.to_thread(hive.expect, "closed")).payload == 10_000


@pytest.mark.parametrize("name", ["count", "count.thread"])
def test_who_stops_iterating_ends_the_generator_and_it_never_runs_far_ahead(hive: HiveTest, name: str) -> None:
    node = hive.start(Counter)
    for number in hive.request_stream(name, 1_000_000):
        if number == 100:
            break
    assert hive.expect("closed").payload == 1_000_000
    assert getattr(node, "last", 0) < 300


def test_a_stream_that_raises_gives_first_what_it_had(hive: HiveTest) -> None:
    hive.start(Counter)
    found: list[int] = []
    with pytest.raises(RemoteError, match="no more beads"):
        found.extend(hive.request_stream("break", 0))
    parts = hive.request_stream("break", 3)
    assert [next(parts) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RemoteError, match="no more beads"):
        next(parts)


def test_each_reply_of_a_stream_has_its_time(hive: HiveTest) -> None:
    node = hive.start(Counter)
    parts = hive.request_stream("stall", timeout=0.2)
    assert next(parts) == 1
    with pytest.raises(RequestTimeout, match="no further reply came"):
        next(parts)
    with pytest.raises(HivemindError):
        next(parts)
    eventually(lambda: node.bound_responders[3].record().cancelled == 1)


def test_one_and_many_are_not_mistaken_for_each_other(hive: HiveTest) -> None:
    hive.start(Counter)
    hive.start(Abacus)
    with pytest.raises(InvalidRequest, match="use request_stream"):
        hive.request("count", 3)
    with pytest.raises(InvalidRequest, match="use request"):
        list(hive.request_stream("sum", [1]))
    with pytest.raises(InvalidRequest, match="valid integer"):
        list(hive.request_stream("count", "many"))
    with pytest.raises(NoResponders):
        list(hive.request_stream("nobody"))


def test_the_registry_says_what_responders_did(hive: HiveTest) -> None:
    node = hive.start(Abacus)
    hive.request("sum", [1])
    record = node._hm.stats().responders[0]
    assert (record.name, record.handler, record.received, record.handled) == ("sum", "Abacus.add", 1, 1)


def test_who_asks_for_a_name_that_is_none_is_told_which_was_meant(hive: HiveTest) -> None:
    class Lost(Node):
        @service("asked")
        def ask(self, service: Service) -> int:
            try:
                self.request("sum.thraed", [1])
            except NoResponders as error:
                service.send(str(error))
            return 1

    hive.start(Abacus)
    with pytest.raises(NoResponders, match=r"nobody answers to it, did you mean strange\? If not, start a node"):
        hive.request("strang")
    with pytest.raises(NoResponders, match="did you mean bytes"):
        next(hive.request_stream("byts"))
    hive.start(Lost)
    assert "did you mean sum.thread?" in hive.expect("asked").payload
