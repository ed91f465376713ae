"""What a handler says of its durable message while it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hivemind import CannotSettle, Message, Node, subscription
from hivemind.errors import DeclarationError
from hivemind.message import foreign
from hivemind.node import patience
from hivemind.testing import HiveTest

from .test_durable import letters, sender
from .waiting import eventually


class Ledger(Node):
    """Says of each message what its payload tells; then its handler goes on, or fails."""

    @subscription("order", durable=True, since="all", retries=3, backoff=(5.0, 60.0))
    async def pack(self, payload: str, message: Any) -> None:
        self.send("packed", [payload, message.deliveries])
        if message.deliveries == 1:
            say(message, payload.partition(" ")[0])
        if "fail" in payload:
            raise OSError("afterwards")


def say(message: Message, word: str) -> None:
    acts: dict[str, Callable[[], None]] = {
        "ack": message.ack,
        "nack": lambda: message.nack(0.01),
        "reject": lambda: message.reject("not ours"),
    }
    acts[word]()


def records(node: Node) -> Any:
    return node.bound_durables[0].record()


def test_what_was_acknowledged_is_not_tried_again_whatever_its_handler_does_then(hive: HiveTest) -> None:
    node = hive.start(Ledger)
    hive.start(sender("ack", "ack fail", "nack fail"))
    packed = [hive.expect("packed", timeout=5).payload for _ in range(4)]
    assert packed == [["ack", 1], ["ack fail", 1], ["nack fail", 1], ["nack fail", 2]]
    eventually(lambda: records(node).acknowledged == 2)
    assert records(node).failed == 2  # of its own accord, after it had put it back


def test_it_is_acknowledged_while_its_handler_runs_on(hive: HiveTest) -> None:
    class Slow(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload: int, message: Any) -> None:
            message.ack()
            await asyncio.sleep(60)

    node = hive.start(Slow)
    hive.start(sender(1))
    eventually(lambda: records(node).acknowledged == 1)


def test_what_was_put_back_is_tried_again_and_what_was_rejected_is_a_dead_letter(hive: HiveTest) -> None:
    node = hive.start(Ledger)
    hive.start(sender("nack", "reject"))
    packed = [hive.expect("packed", timeout=5).payload for _ in range(3)]
    assert sorted(packed) == [["nack", 1], ["nack", 2], ["reject", 1]]
    eventually(lambda: (records(node).dead, records(node).acknowledged, records(node).retried) == (1, 1, 1))
    assert [letter["reason"] for letter in letters(hive)] == ["not ours"]
    assert (records(node).failed, records(node).error) == (0, "")  # what is meant is no failure


def test_it_can_be_said_on_another_thread(hive: HiveTest) -> None:
    class Threads(Node):
        @subscription("order", durable=True, since="all")
        def pack(self, payload: str, message: Any) -> None:
            thread = threading.Thread(target=say, args=(message, payload))
            thread.start()
            thread.join()

    node = hive.start(Threads)
    hive.start(sender("ack", "reject"))
    eventually(lambda: (records(node).dead, records(node).acknowledged) == (1, 1))


@pytest.mark.parametrize(("first", "then"), [("ack", "ack"), ("nack", "ack"), ("reject", "nack")])
def test_a_second_word_is_refused(hive: HiveTest, first: str, then: str) -> None:
    class Twice(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload: str, message: Any) -> None:
            say(message, first)
            with pytest.raises(CannotSettle, match=rf"{then}\(\) of order/.*: {first}\(\) was said of it already"):
                say(message, then)
            self.send("packed", payload)

    hive.start(Twice)
    hive.start(sender("x"))
    hive.expect("packed", timeout=5)


def test_after_its_handler_nothing_can_be_said(hive: HiveTest) -> None:
    kept: list[Message] = []

    class Keeps(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload: str, message: Any) -> None:
            kept.append(message)

    node = hive.start(Keeps)
    hive.start(sender("x"))
    eventually(lambda: records(node).acknowledged == 1)
    with pytest.raises(CannotSettle, match="its handler has ended"):
        kept[0].ack()


def test_who_kept_the_message_of_a_try_that_failed_has_no_say_in_the_next(hive: HiveTest) -> None:
    kept: list[Message] = []
    goes_on = threading.Event()

    class Keeps(Node):
        @subscription("order", durable=True, since="all", retries=3, backoff=(0.01, 0.01))
        async def pack(self, payload: int, message: Any) -> None:
            kept.append(message)
            if payload == 2:
                await asyncio.to_thread(goes_on.wait, 10)
            if payload == 1 and message.deliveries == 1:
                raise OSError("later")

    node = hive.start(Keeps)
    hive.start(sender(1, 2, 3))
    eventually(lambda: records(node).retried == 1)  # and waits until the worker has done what it does
    with pytest.raises(CannotSettle, match="its handler has ended"):
        kept[0].ack()
    goes_on.set()
    eventually(lambda: records(node).acknowledged == 3)
    assert [one.deliveries for one in kept] == [1, 1, 2, 1]


@pytest.mark.parametrize("word", ["ack", "nack", "reject"])
def test_of_a_live_message_nothing_can_be_said(word: str) -> None:
    with pytest.raises(CannotSettle, match=rf"{word}\(\) of order/.*: it came live"):
        say(Message("order", foreign(1), 1), word)


def test_add_subscription_takes_the_same_words(hive: HiveTest) -> None:
    class Added(Node):
        def subscriptions(self) -> None:
            self.add_subscription("order", self.pack, durable=True, since="all", retries=0, group="added")

        async def pack(self, payload: int) -> None:
            raise OSError("never")

    node = hive.start(Added)
    hive.start(sender(1))
    eventually(lambda: (records(node).dead, records(node).group) == (1, "added"))


def test_what_is_put_off_is_shown_as_parked(hive: HiveTest) -> None:
    node = hive.start(Ledger)
    hive.start(sender("other fail"))
    eventually(lambda: (records(node).pending, records(node).parked) == (1, 1))


def test_words_of_durable_subscriptions_need_durable() -> None:
    with pytest.raises(DeclarationError, match="retries= needs durable=True"):
        subscription("order", retries=2)


def test_a_def_handler_has_no_timeout() -> None:
    class Threads(Node):
        @subscription("order", durable=True, timeout=1.0)
        def pack(self, payload: int) -> None: ...

    with pytest.raises(DeclarationError, match="timeout= needs an async def"):
        Threads()._hm.bind()


def test_a_handler_that_never_returns_is_shown_and_named_in_the_log(
    hive: HiveTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Hangs(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload: int) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(patience, "LONG", 0.5)
    node = hive.start(Hangs)
    hive.start(sender(1))
    eventually(lambda: records(node).longest >= 1, within=10)
    named = [record.getMessage() for record in caplog.records if "has been handling" in record.getMessage()]
    assert "await asyncio.Event().wait()" in named[0]
