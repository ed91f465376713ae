"""Durable delivery without nodes: readers of a group on a real server, with handlers that fail, hang and die."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence

import orjson
import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.deliveries import Deliveries
from hivemind.bus.delivery import Death, Delivery
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.group_reader import GroupReader
from hivemind.bus.streams import Given, Home, Reader, Streams
from hivemind.bus.trials import Rules
from hivemind.states import DeliveryState
from hivemind.topics import Names

from .proxy import Proxy
from .servers import RedisServer
from .streams_kit import append
from .waiting import eventually_async

TOPIC = "order-1"
Handler = Callable[[int, int], Awaitable[None]]
FAST = Rules(retries=3, first=0.05, longest=0.2)


class Shop:
    """One life that reads a group and calls ``handler(payload, number of the try)``, one at a time."""

    def __init__(self, url: str, hive: str, reader: Reader, handler: Handler, rules: Rules = FAST) -> None:
        endpoint, names = Endpoint.parse(url), Names(hive)
        self.commands = Commands(endpoint)
        self.functions = functions = Functions(self.commands)
        self.streams = Streams(self.commands, functions, names)
        self.queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self.deliveries = Deliveries(self.streams, reader, lambda topic: rules, self.queue.put_nowait)
        home = Home(endpoint, f"hm:{reader.instance}:read", names, functions)
        self.group = GroupReader(home, self.streams, reader, self.deliveries)
        self.group.spare = lambda: 1000 - len(self.deliveries)
        self.deliveries.on_fewer = self.group.room.ring
        self.handler, self.names = handler, names
        self.worker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.streams.join(TOPIC, self.group.reader.group, "0")
        self.deliveries.start()
        self.group.start()
        await self.group.add([TOPIC])
        self.worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while True:
            delivery = await self.queue.get()
            delivery.enter(DeliveryState.HANDLING)
            try:
                await self.handler(int(delivery.body), delivery.number)
            except OSError as error:
                self.deliveries.failed(delivery, Death(str(error)))
            else:
                self.deliveries.handled(delivery)

    async def die(self) -> None:
        """As a process that is killed: nothing more is said to Redis."""
        assert self.worker is not None
        self.worker.cancel()
        await self.deliveries.aclose()
        await self.group.aclose()
        await self.commands.aclose()

    async def stop(self) -> None:
        await self.group.aclose()
        await eventually_async(self.queue.empty)
        await self.deliveries.settled()
        await self.die()

    async def take_over(self, ended: Shop) -> None:
        held = await self.streams.take_over(TOPIC, self.group.reader, ended.group.reader)
        self.deliveries.inherit(TOPIC, held)

    async def send(self, *payloads: int, first: int = 1) -> None:
        bodies = [b"%d" % payload for payload in payloads]
        await append(self.functions, self.names, TOPIC, ("a.0", 1), first, bodies)

    async def pending(self) -> int:
        stream = self.names.stream(TOPIC)
        return int((await self.commands.execute("XPENDING", stream, self.group.reader.group))[0])

    async def letters(self) -> list[dict[str, object]]:
        entries = await self.commands.execute("XRANGE", self.names.letters(TOPIC), "-", "+")
        return [orjson.loads(fields[1]) for _, fields in entries]


def life(number: int = 0) -> Reader:
    return Reader("shop", f"shop.{number}", 1)


async def test_what_is_handled_is_acknowledged_once(server: RedisServer, hive_name: str) -> None:
    got: list[int] = []

    async def handle(payload: int, number: int) -> None:
        got.append(payload)

    shop = Shop(server.url, hive_name, life(), handle)
    await shop.start()
    await shop.send(*range(2500))
    await eventually_async(lambda: shop.deliveries.tally.acknowledged == 2500)
    assert got == list(range(2500))
    assert await shop.pending() == 0
    assert len(shop.deliveries) == 0
    await shop.stop()


async def test_a_message_whose_handler_fails_is_parked_and_the_others_flow(server: RedisServer, hive_name: str) -> None:
    got: list[tuple[int, int]] = []

    async def handle(payload: int, number: int) -> None:
        got.append((payload, number))
        if payload == 1 and number < 3:
            raise OSError("the shop is closed")

    shop = Shop(server.url, hive_name, life(), handle)
    await shop.start()
    await shop.send(0, 1, 2, 3)
    await eventually_async(lambda: shop.deliveries.tally.acknowledged == 4)
    assert got == [(0, 1), (1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]
    assert shop.deliveries.tally.retried == 2
    await shop.stop()


async def test_after_the_last_try_a_message_is_a_dead_letter(server: RedisServer, hive_name: str) -> None:
    async def handle(payload: int, number: int) -> None:
        raise OSError("no such customer")

    shop = Shop(server.url, hive_name, life(), handle)
    await shop.start()
    await shop.send(7)
    await eventually_async(lambda: shop.deliveries.tally.dead == 1)
    (letter,) = await shop.letters()
    assert (letter["message"], letter["tries"], letter["reason"]) == ("7", 4, "no such customer")
    assert (letter["group"], letter["instance"]) == ("shop", "shop.0")
    assert await shop.pending() == 0
    await shop.stop()


async def test_an_error_that_is_no_utf8_holds_nobody_up(server: RedisServer, hive_name: str) -> None:
    async def handle(payload: int, number: int) -> None:
        if payload == 1:
            raise OSError("no file \udc80")

    shop = Shop(server.url, hive_name, life(), handle, Rules(retries=0))
    await shop.start()
    await shop.send(1, 2)
    await eventually_async(lambda: (shop.deliveries.tally.dead, shop.deliveries.tally.acknowledged) == (1, 1))
    assert [letter["reason"] for letter in await shop.letters()] == ["no file \\udc80"]
    await shop.stop()


async def test_what_a_dead_reader_held_is_handled_by_another_and_a_poison_message_ends_as_a_dead_letter(
    server: RedisServer, hive_name: str
) -> None:
    handled: list[int] = []
    started: list[tuple[int, int]] = []
    poisoned = asyncio.Event()

    async def handle(payload: int, number: int) -> None:
        started.append((payload, number))
        if payload == 3:
            poisoned.set()
            await asyncio.sleep(60)  # here its process is killed
        handled.append(payload)

    shops = [Shop(server.url, hive_name, life(number), handle) for number in range(6)]
    await shops[0].start()
    await shops[0].send(*range(10))
    for shop, heir in itertools.pairwise(shops):
        await asyncio.wait_for(poisoned.wait(), 5)
        poisoned.clear()
        await shop.deliveries.settled()
        await shop.die()
        await heir.start()
        await heir.take_over(shop)
    await eventually_async(lambda: sorted(handled) == [0, 1, 2, 4, 5, 6, 7, 8, 9])
    await eventually_async(lambda: shops[-1].deliveries.tally.dead == 1)
    assert [number for payload, number in started if payload == 3] == [1, 1, 2, 3, 4]
    (letter,) = await shops[-1].letters()
    assert letter["reason"] == "its process ended while it was tried for the last time"
    assert await shops[-1].pending() == 0
    await shops[-1].stop()


async def test_a_reader_that_was_taken_over_from_says_so_and_lets_go(server: RedisServer, hive_name: str) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    async def handle(payload: int, number: int) -> None:
        began.set()
        await may_end.wait()

    async def handle_again(payload: int, number: int) -> None:
        may_end.set()

    frozen, heir = Shop(server.url, hive_name, life(0), handle), Shop(server.url, hive_name, life(1), handle_again)
    await frozen.start()
    await frozen.send(1)
    await began.wait()
    await heir.start()
    await heir.take_over(frozen)
    await eventually_async(lambda: heir.deliveries.tally.acknowledged == 1)
    await eventually_async(lambda: frozen.deliveries.is_taken)
    assert frozen.deliveries.tally.acknowledged == 0
    await frozen.die()
    await heir.stop()


@pytest.mark.parametrize("asked", ["park", "retake", "acknowledge"])
async def test_whoever_is_taken_over_from_while_redis_answers_lets_go_without_a_fault(
    server: RedisServer, hive_name: str, asked: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(payload: int, number: int) -> None:
        if number == 1:
            raise OSError("not yet")

    shop = Shop(server.url, hive_name, life(), handle)
    ask = getattr(shop.streams, asked)

    async def answered(*words: object) -> object:
        said = await ask(*words)
        shop.deliveries.let_go()
        return said

    monkeypatch.setattr(shop.streams, asked, answered)
    await shop.start()
    await shop.send(1)
    await eventually_async(lambda: shop.deliveries.is_taken)
    await shop.die()
    assert [one.levelname for one in caplog.records if one.name == "hivemind.durable"] == ["WARNING"]


async def read_and_die(server: RedisServer, hive: str) -> Shop:
    """A life that was given a message, and ended before it began with it."""

    async def handle(payload: int, number: int) -> None:
        await asyncio.sleep(60)

    shop = Shop(server.url, hive, life(0), handle, Rules(retries=0))
    await shop.start()
    assert shop.worker is not None
    shop.worker.cancel()
    await shop.send(7)
    await eventually_async(lambda: len(shop.deliveries) == 1)
    return shop


@pytest.mark.every_server
async def test_what_no_handler_began_is_no_dead_letter_however_often_the_connection_was_cut(
    server: RedisServer, hive_name: str
) -> None:
    got: list[tuple[int, int]] = []

    async def handle(payload: int, number: int) -> None:
        got.append((payload, number))

    async with Proxy(server.socket) as proxy:
        cut = Shop(f"redis://127.0.0.1:{proxy.port}", hive_name, life(0), handle, Rules(retries=0))
        heir = Shop(server.url, hive_name, life(1), handle, Rules(retries=0))
        await heir.streams.join(TOPIC, "shop", "0")
        proxy.cut_on = (b"XREADGROUP", b"_reread")
        await cut.start()
        await heir.send(7)
        await eventually_async(lambda: proxy.cuts >= 4, 20.0)
        await cut.die()
    assert got == []
    await heir.start()
    await heir.take_over(cut)
    await eventually_async(lambda: heir.deliveries.tally.acknowledged == 1)
    assert (got, await heir.letters()) == ([(7, 1)], [])
    await heir.stop()


async def test_a_try_whose_answer_was_lost_counts_once(server: RedisServer, hive_name: str) -> None:
    got: list[tuple[int, int]] = []

    async def handle(payload: int, number: int) -> None:
        got.append((payload, number))

    dead = await read_and_die(server, hive_name)
    await dead.die()
    async with Proxy(server.socket) as proxy:
        heir = Shop(f"redis://127.0.0.1:{proxy.port}", hive_name, life(1), handle, Rules(retries=0))
        await heir.start()
        proxy.cut_on = (b"_retake",)
        await heir.take_over(dead)
        await eventually_async(lambda: proxy.cuts >= 3, 20.0)
        proxy.cut_on = ()
        await eventually_async(lambda: heir.deliveries.tally.acknowledged == 1)
        assert (got, await heir.letters()) == ([(7, 1)], [])
        await heir.stop()


async def test_what_others_left_and_an_answer_did_not_tell_is_tried_as_what_was_taken_over(
    server: RedisServer, hive_name: str
) -> None:
    async def handle(payload: int, number: int) -> None:
        got.append((payload, number))

    got: list[tuple[int, int]] = []
    dead = await read_and_die(server, hive_name)
    ((entry, *_),) = await dead.commands.execute("XPENDING", dead.names.stream(TOPIC), "shop", "-", "+", 9)
    await dead.streams.retake(TOPIC, life(0), [entry])
    heir = Shop(server.url, hive_name, life(1), handle)
    await heir.streams.take_over(TOPIC, life(1), life(0))  # the answer is lost
    heir.group._is_behind = True
    await heir.start()
    await eventually_async(lambda: heir.deliveries.tally.acknowledged == 1)
    assert got == [(7, 2)]
    await dead.die()
    await heir.stop()


async def test_what_is_taken_over_once_more_because_redis_came_back_with_what_it_had_before_is_in_one_handler(
    server: RedisServer, hive_name: str
) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    async def handle(payload: int, number: int) -> None:
        if number == 1:
            raise OSError("not yet")
        began.set()
        await may_end.wait()

    dead, heir = Shop(server.url, hive_name, life(0), handle), Shop(server.url, hive_name, life(1), handle)
    await dead.start()
    await dead.send(7)
    await eventually_async(lambda: [one.state for one in dead.deliveries.held()] == [DeliveryState.PARKED])
    await dead.die()
    keys = (heir.names.stream(TOPIC), heir.names.retries(TOPIC))
    before = [await heir.commands.execute("DUMP", key) for key in keys]
    await heir.start()
    await heir.take_over(dead)
    await asyncio.wait_for(began.wait(), 5)
    for key, kept in zip(keys, before, strict=True):
        await heir.commands.execute("RESTORE", key, 0, kept, "REPLACE")
    await heir.take_over(dead)
    assert [one.state for one in heir.deliveries.held()] == [DeliveryState.HANDLING]
    may_end.set()
    await eventually_async(lambda: heir.deliveries.tally.acknowledged == 1)
    assert heir.deliveries.tally.retried == 1
    await heir.stop()


@pytest.mark.parametrize("keep_data", [True])
async def test_redis_killed_under_way_loses_nothing(own_server: RedisServer, keep_data: bool) -> None:
    got: list[int] = []

    async def handle(payload: int, number: int) -> None:
        got.append(payload)
        await asyncio.sleep(0.001)

    shop = Shop(own_server.url, "t", life(), handle)
    await shop.start()
    await shop.send(*range(300))
    await eventually_async(lambda: len(got) > 50)
    own_server.restart(keep_data=keep_data, kill=True)
    await eventually_async(lambda: shop.deliveries.tally.acknowledged >= 300, 10.0)
    assert sorted(set(got)) == list(range(300))
    assert len(got) == 300
    assert await shop.pending() == 0
    await shop.stop()


async def test_no_more_is_read_at_once_than_there_is_room_for_however_many_topics_there_are(
    server: RedisServer, hive_name: str
) -> None:
    async def handle(payload: int, number: int) -> None:
        """It is only counted what comes."""

    shop = Shop(server.url, hive_name, life(), handle)
    came: dict[str, int] = {}
    sizes: list[int] = []
    topics = [f"order-{number}" for number in range(8)]

    def count(topic: str, given: Sequence[Given]) -> None:
        came[topic] = came.get(topic, 0) + len(given)
        sizes.append(len(given))

    for number, topic in enumerate(topics):
        await shop.streams.join(topic, "shop", "0")
        await append(shop.functions, shop.names, topic, ("a.0", 1), 1, [b"1"] * (300 if number else 3000))
    shop.deliveries.came = count  # type: ignore[method-assign]
    reader = GroupReader(shop.group._home, shop.streams, life(), shop.deliveries)
    reader.spare = lambda: 80
    reader.start()
    await reader.add(topics)
    await eventually_async(lambda: sum(came.values()) == 3000 + 7 * 300)
    assert max(sizes) <= 80
    await reader.aclose()
    await shop.commands.aclose()
