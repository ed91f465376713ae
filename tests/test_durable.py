"""Durable subscriptions of nodes, in one process: what becomes of a message that its handler cannot handle."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from hivemind import AsyncService, Node, Reject, Retry, service, subscription
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Reader, Streams
from hivemind.data.letters import Letters
from hivemind.errors import ConfigurationError, DeclarationError
from hivemind.testing import HiveTest
from hivemind.topics import Names

from .waiting import eventually, eventually_async


def sender(*payloads: Any) -> type[Node]:
    class Orders(Node):
        @service("order", durable=True)
        async def sell(self, service: AsyncService) -> int:
            for payload in payloads:
                service.send(payload)
            await service.flush()
            return 1

    return Orders


def letters(hive: HiveTest) -> list[dict[str, Any]]:
    """The dead letters of the topic ``order``."""

    async def read() -> Any:
        async with Commands(Endpoint.parse(hive.settings.redis_url)) as commands:
            return await commands.execute("XRANGE", Names(hive.settings.name).letters("order"), "-", "+")

    return [orjson.loads(fields[1]) for _, fields in asyncio.run(read())]


class Picky(Node):
    """Fails on some, and says how."""

    @subscription("order", durable=True, since="all", retries=1, backoff=(0.02, 0.1))
    async def pack(self, payload: int, message: Any) -> None:
        if payload == 1:
            raise Reject("nobody wants this")
        if payload == 2 and message.deliveries == 1:
            raise Retry(0.01)
        if payload == 3:
            raise OSError("the shelf is empty")
        self.send("packed", [payload, message.deliveries])


def test_what_cannot_be_handled_is_tried_again_or_becomes_a_dead_letter(
    hive: HiveTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    node = hive.start(Picky)
    hive.start(sender(0, 1, 2, 3, "four", 5))
    packed = [hive.expect("packed", timeout=5).payload for _ in range(3)]
    assert sorted(packed) == [[0, 1], [2, 2], [5, 1]]
    eventually(lambda: len(letters(hive)) == 3)
    found = {letter["reason"].partition(":")[0]: letter for letter in letters(hive)}
    assert found["nobody wants this"]["tries"] == 1
    assert found["OSError"]["tries"] == 2
    assert "the shelf is empty" in found["OSError"]["traceback"]
    assert "payload" in found["InvalidPayload"]["reason"]
    assert found["InvalidPayload"]["tries"] == 1
    record = node.bound_durables[0].record()
    assert (record.handled, record.failed, record.invalid) == (3, 2, 1)
    assert (record.retried, record.dead) == (2, 3)
    meant = [one.getMessage() for one in caplog.records if "Picky.pack raised" in one.getMessage()]
    assert meant[0] == "Picky.pack raised Reject on a message of order, try 1: nobody wants this"
    assert not any("failed" in one for one in meant)


def test_a_dead_letter_keeps_every_byte_of_what_is_no_text(hive: HiveTest) -> None:
    body = b'{"v":1,"d":"\xff\x00\xc3"'
    node = hive.start(Picky)
    hive.start(sender(0))
    hive.expect("packed", timeout=5)

    async def replayed() -> bytes:
        async with Commands(Endpoint.parse(hive.settings.redis_url)) as commands:
            names = Names(hive.settings.name)
            await commands.execute("XADD", names.stream("order"), "*", "b", body)
            await eventually_async(lambda: node.bound_durables[0].record().dead == 1)
            await Letters(Streams(commands, Functions(commands), names)).replay(hive.dead_letters("order"))
            ((_, (_, again, *_)),) = await commands.execute("XREVRANGE", names.stream("order"), "+", "-", "COUNT", 1)
            return bytes(again)

    assert asyncio.run(replayed()) == body
    eventually(lambda: node.bound_durables[0].record().dead == 2)  # it is no more of a message than before
    assert [letter.body for letter in hive.dead_letters("order")] == [body]


def test_what_a_handler_means_is_one_line_and_no_error(hive: HiveTest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    node = hive.start(Picky)
    hive.send("order", 1, durable=True)
    eventually(lambda: node.bound_durables[0].record().dead == 1)
    (line,) = [one for one in caplog.records if "nobody wants this" in one.getMessage()]
    assert (line.levelname, line.exc_info, node.bound_durables[0].record().failed) == ("INFO", None, 0)


def test_what_cannot_be_bound_says_where_it_is_written(hive: HiveTest) -> None:
    class Odd(Node):
        @subscription("order", durable=True, timeout=3)
        def pack(self, payload: int) -> None: ...

    with pytest.raises(DeclarationError, match=r"test_durable\.py:\d+: .*timeout= needs an async def"):
        hive.start(Odd)


def test_dead_letters_are_bounded_by_the_setting(hive_server: str, hive_name: str) -> None:
    class Never(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload: int) -> None:
            raise Reject("never")

    with HiveTest(hive_server, hive_name, {"DEAD_LETTERS": 100}) as hive:
        never = hive.start(Never)
        hive.start(sender(*range(500)))
        eventually(lambda: never.bound_durables[0].record().dead == 500, within=10)
        assert 100 <= len(letters(hive)) <= 300  # Redis cuts by blocks


def test_copies_of_a_node_share_and_other_groups_have_their_own(hive: HiveTest) -> None:
    class Shop(Node):
        @subscription("order", durable=True, since="all")
        async def pack(self, payload: int) -> None:
            self.send("packed", [self.instance, payload])

    class Books(Node):
        @subscription("order", durable=True, since="all")
        def note(self, payload: int) -> None:
            self.send("noted", payload)

    for node in (Shop, Shop, Books, sender(*range(50))):
        hive.start(node)
    packed = [hive.expect("packed", timeout=5).payload for _ in range(50)]
    assert sorted(payload for _, payload in packed) == list(range(50))
    assert [hive.expect("noted", timeout=5).payload for _ in range(50)] == list(range(50))


def test_a_handler_that_takes_too_long_is_tried_again(hive: HiveTest) -> None:
    class Slow(Node):
        @subscription("order", durable=True, since="all", timeout=0.05, backoff=(0.01, 0.1))
        async def pack(self, payload: int, message: Any) -> None:
            if message.deliveries == 1:
                await asyncio.sleep(60)
            self.send("packed", message.deliveries)

    hive.start(Slow)
    hive.start(sender(1))
    assert hive.expect("packed", timeout=5).payload == 2


@pytest.mark.parametrize(("since", "expected"), [("new", []), ("all", [1, 2, 3]), (2, [2, 3]), ("10m", [1, 2, 3])])
def test_a_group_begins_where_it_says(hive: HiveTest, since: Any, expected: list[int]) -> None:
    class Late(Node):
        @subscription("order", durable=True, since=since)
        async def pack(self, payload: int) -> None:
            self.send("packed", payload)

    first = hive.start(sender(1, 2, 3))
    eventually(lambda: first.bound_services[0].record().state == "finished")
    hive.start(Late)
    hive.start(sender(4))
    found = [hive.expect("packed", timeout=5).payload for _ in range(len(expected) + 1)]
    assert found == [*expected, 4]


def test_everybody_else_gets_it_live(hive: HiveTest) -> None:
    hive.start(sender(1, 2))
    assert [hive.expect("order", timeout=5).payload for _ in range(2)] == [1, 2]


def test_two_that_read_the_same_in_one_group_are_refused() -> None:
    class Twice(Node):
        @subscription("order", durable=True)
        def one(self, payload: int) -> None: ...

        @subscription("order", durable=True)
        def other(self, payload: int) -> None: ...

    with pytest.raises(DeclarationError, match="two durable subscriptions to 'order' in group 'twice'"):
        Twice()._hm.bind()


@pytest.mark.parametrize(
    "wrong", [{"since": "yesterday"}, {"since": 0}, {"retries": -1}, {"backoff": (2.0, 1.0)}, {"group": "a b"}]
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        subscription("order", durable=True, **wrong)


@pytest.mark.parametrize("delay", [float("inf"), float("nan"), -1.0])
def test_a_retry_needs_a_time_that_comes(delay: float) -> None:
    with pytest.raises(ValueError, match="use 0 to"):
        Retry(delay)


def test_each_subscription_of_a_group_has_its_own_retries(hive: HiveTest) -> None:
    class Two(Node):
        @subscription("other", durable=True, retries=0)
        async def never(self, payload: int) -> None: ...

        @subscription("order", durable=True, since="all", retries=2, backoff=(0.01, 0.02))
        async def pack(self, payload: int, message: Any) -> None:
            if message.deliveries < 3:
                raise OSError("not yet")
            self.send("packed", message.deliveries)

    hive.start(Two)
    hive.start(sender(1))
    assert hive.expect("packed", timeout=5).payload == 3


def test_a_backlog_survives_a_stop_untried_and_in_order(hive: HiveTest) -> None:
    class Slow(Node):
        @subscription("order", durable=True, since="all", retries=0)
        async def pack(self, payload: int, message: Any) -> None:
            self.send("packed", [payload, message.deliveries])
            await asyncio.sleep(0.002)

    first = hive.start(Slow)
    hive.start(sender(*range(300)))
    hive.expect("packed", timeout=5)
    hive.stop(first)
    hive.start(Slow)
    packed = [[0, 1]] + [hive.expect("packed", timeout=10).payload for _ in range(299)]
    assert packed == [[number, 1] for number in range(300)]
    assert letters(hive) == []


def test_what_on_start_sends_on_a_durable_topic_is_kept(hive: HiveTest) -> None:
    class Early(Node):
        def on_start(self) -> None:
            self.send("order", 1)

        @service("order", durable=True)
        def sell(self, service: Any) -> int:
            service.send(2)
            service.flush()
            return 1

    early = hive.start(Early)
    eventually(lambda: early.bound_services[0].record().state == "finished")
    hive.start(Taker)
    assert [hive.expect("packed", timeout=5).payload for _ in range(2)] == [1, 2]


class Taker(Node):
    """Takes all that there is."""

    @subscription("order", durable=True, since="all")
    async def pack(self, payload: int) -> None:
        self.send("packed", payload)


def test_a_reader_that_was_taken_over_from_joins_again(hive: HiveTest) -> None:
    first = hive.start(Taker)
    hive.start(sender(1))
    hive.expect("packed", timeout=5)
    names, life = Names(hive.settings.name), first.bus

    async def take_over() -> None:
        async with Commands(Endpoint.parse(hive.settings.redis_url)) as commands:
            streams = Streams(commands, Functions(commands), names)
            ended = Reader(first.name, life.instance, life.incarnation)
            await streams.take_over("order", Reader(first.name, "other.0", 1), ended)

    asyncio.run(take_over())
    hive.start(sender(2, 3))
    eventually(lambda: {2, 3} <= {message.payload for message in hive.seen if message.topic == "packed"}, within=10)
