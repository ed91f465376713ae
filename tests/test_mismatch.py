"""Who waits for a topic that nobody keeps yet, and who asks durably for what is sent live: both sides are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hivemind import Node, service, subscription
from hivemind.data.entries import UNSEEN, KeptTopic, Reading
from hivemind.data.mismatch import mismatches
from hivemind.data.records import Instance, ServiceRecord, Stats, about_from
from hivemind.testing import HiveTest

from .bus_kit import passes
from .waiting import eventually

NOW = 10_000_000
ORDERS = Reading("shop", "order.*", "all", NOW, "shop", NOW)


def sender(*services: ServiceRecord, expires: float | None = 1e10) -> Instance:
    return Instance("till.0", 1, expires, about_from({}, "till.0"), Stats(services=services))


def test_a_reader_of_what_nobody_keeps_yet_is_waiting() -> None:
    found = mismatches(
        [sender(ServiceRecord("weather", kept="live"))], [KeptTopic("bills", NOW, seen=NOW)], [ORDERS], NOW
    )
    assert (found.waiting, found.unkept) == ((ORDERS,), ())


def test_a_reader_of_what_is_sent_live_is_an_error_that_names_both_sides() -> None:
    found = mismatches([sender(ServiceRecord("order.new", kept="live"))], [], [ORDERS], NOW)
    assert found.waiting == ()
    (one,) = found.unkept
    assert (one.topic, one.instance, one.reading) == ("order.new", "till.0", ORDERS)
    assert all(word in one.text for word in ("order.new", "till.0", "shop", "durable=True"))


@pytest.mark.parametrize("topic", [KeptTopic("order.new", NOW, False, "5", NOW), KeptTopic("order.new", 5, seen=NOW)])
def test_a_reader_of_what_is_kept_is_content(topic: KeptTopic) -> None:
    for kept in ("kept", ""):  # an older version does not say
        found = mismatches([sender(ServiceRecord("order.new", kept=kept))], [topic], [ORDERS], NOW)
        assert (found.waiting, found.unkept) == ((), ())


def test_what_was_kept_once_and_is_sent_live_now_is_an_error() -> None:
    old = KeptTopic("order.new", 5, seen=NOW - UNSEEN - 1)
    assert mismatches([sender(ServiceRecord("order.new"))], [old], [ORDERS], NOW).unkept


def test_who_is_gone_sends_nothing_and_waits_for_nothing() -> None:
    gone = Reading("shop", "order.*", "all", 1, "shop", NOW - UNSEEN - 1)
    lost = sender(ServiceRecord("order.new", kept="live"), expires=None)
    assert mismatches([lost], [], [ORDERS], NOW).unkept == ()
    assert mismatches([sender(ServiceRecord("order.new", kept="live"))], [], [gone], NOW).unkept == ()
    assert mismatches([], [], [gone], NOW).waiting == ()


class Shop(Node):
    """Reads durably."""

    @subscription("order.*", durable=True)
    async def pack(self, payload: Any) -> None: ...


class Till(Node):
    """Sends live."""

    @service("order.new", every=0.05)
    async def sell(self, service: Any) -> None:
        service.send(1)


class Echo(Node):
    """Sends live what it has not declared."""

    def on_start(self) -> None:
        self.send("order.new", 1)


@pytest.mark.parametrize("sends", [Till, Echo])
def test_it_is_told_once_in_both_logs(
    hive: HiveTest, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, sends: type[Node]
) -> None:
    monkeypatch.setattr("hivemind.node.agreement.LOOK", 0.05)
    hive.start(Shop)
    hive.start(sends)

    def told() -> list[str]:
        return sorted(one.name for one in caplog.records if "order.new is not kept" in one.getMessage())

    eventually(lambda: len(told()) == 2)
    asyncio.run(passes(0.3))  # and several looks
    assert told() == sorted(["shop.0", f"{sends.__name__.lower()}.0"])
