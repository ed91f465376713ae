"""Kept topics: what may be declared, what a hive remembers of them, and how their streams are capped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from hivemind import Node, service
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Streams
from hivemind.data.entries import KeptTopic
from hivemind.data.kept import SETTLED, Kept
from hivemind.errors import DeclarationError
from hivemind.retention import MILLION, WEEK, Retention
from hivemind.testing import HiveTest
from hivemind.topics import Names

from .servers import RedisServer
from .streams_kit import append
from .waiting import eventually


class Shelf:
    """What one hive remembers, and its streams."""

    def __init__(self, url: str, hive: str) -> None:
        self.commands, self.names = Commands(Endpoint.parse(url)), Names(hive)
        self.functions = Functions(self.commands)
        self.streams = Streams(self.commands, self.functions, self.names)
        self.kept = Kept(self.streams)

    async def length(self, topic: str) -> int:
        return int(await self.commands.execute("XLEN", self.names.stream(topic)))

    async def append(self, topic: str, count: int, first: int, cap: tuple[str, str]) -> int:
        bodies = [b"%d" % number for number in range(count)]
        return await append(self.functions, self.names, topic, ("a.0", 1), first, bodies, cap)


@pytest.fixture
async def shelf(server: RedisServer, hive_name: str) -> AsyncIterator[Shelf]:
    made = Shelf(server.url, hive_name)
    yield made
    await made.commands.aclose()


@pytest.mark.parametrize(
    ("durable", "keep", "expected"),
    [
        (True, None, Retention(True, WEEK, MILLION)),
        (True, "30d", Retention(True, 30 * 86_400.0, None)),
        (False, "1.5m", Retention(False, 90.0, None)),
        (False, 1000, Retention(False, None, 1000)),
        (False, "1000", Retention(False, None, 1000)),
    ],
)
def test_what_is_declared_says_how_much_is_kept(durable: bool, keep: Any, expected: Retention) -> None:
    @service("x", durable=durable, keep=keep)
    def send() -> None: ...

    (declared,) = send.__hivemind_declared__  # type: ignore[attr-defined]
    assert declared.retention == expected


@pytest.mark.parametrize("keep", ["", "ten minutes", "0s", "-1s", "10y", "9999d", 0, -5, 1.5, True, b"10m", 10**12])
def test_a_time_that_cannot_be_meant_is_refused_where_it_is_written(keep: Any) -> None:
    with pytest.raises(DeclarationError, match="service 'x': keep="):
        service("x", keep=keep)


@pytest.mark.parametrize(("words", "match"), [({"keep": 1, "confirm": "soon"}, "soon"), ({"confirm": "disk"}, "kept")])
def test_a_tier_that_cannot_be_is_refused_where_it_is_written(words: dict[str, Any], match: str) -> None:
    with pytest.raises(DeclarationError, match=match):
        service("x", **words)


async def test_a_capped_stream_is_capped_by_who_appends_whatever_groups_have_read(shelf: Shelf) -> None:
    await shelf.streams.join("n", "slow", "0")
    for first in range(1, 20_001, 1000):
        await shelf.append("n", 1000, first, ("500", ""))
        assert 500 <= await shelf.length("n") < 700


async def test_what_is_too_old_goes_with_the_next_append(shelf: Shelf) -> None:
    name = shelf.names.stream("n")
    for number in range(1, 501):  # of long ago
        await shelf.commands.execute("XADD", name, f"{number}-1", "b", "old")
    await shelf.append("n", 1, 1, ("", "60000"))
    assert 1 <= await shelf.length("n") <= 101
    assert await shelf.streams.trim("n", Retention(False, 60.0, None)) == 0  # the rest of the last block stays


async def test_a_capped_stream_that_nobody_sends_on_is_trimmed_whatever_groups_have_read(shelf: Shelf) -> None:
    await shelf.streams.join("n", "slow", "0")
    await shelf.append("n", 1000, 1, ("", ""))
    assert await shelf.streams.trim("n", Retention(True, None, 100)) == 0
    assert await shelf.streams.trim("n", Retention(False, None, 100)) == 900


async def test_the_hive_remembers_how_a_topic_is_kept_and_the_last_word_holds(shelf: Shelf) -> None:
    first = await shelf.kept.announce("n", durable=False, keep="10m")
    assert (await shelf.kept.topics()) == [first] == [KeptTopic("n", first.at, False, "10m", first.seen)]
    later = await shelf.kept.announce("n", durable=False, keep="5")
    assert (later.keep, later.at) == ("5", first.at)


async def test_who_only_keeps_does_not_unmake_what_another_sends_durably(shelf: Shelf) -> None:
    await shelf.kept.announce("n")
    assert (await shelf.kept.announce("n", durable=False, keep="10m")).durable
    (found,) = await shelf.kept.topics()
    said = {"at": found.at, "durable": True, "keep": None, "seen": found.seen - SETTLED}
    await shelf.commands.execute("HSET", shelf.names.kept(), "n", orjson.dumps(said))  # it has gone meanwhile
    assert not (await shelf.kept.announce("n", durable=False, keep="10m")).durable


@pytest.mark.parametrize("said", ['{"at": 5}', '{"at": 5, "durable": false}', '{"at": 5, "keep": "x", "seen": []}'])
async def test_an_entry_that_does_not_say_how_is_a_durable_one(shelf: Shelf, said: str) -> None:
    await shelf.commands.execute("HSET", shelf.names.kept(), "n", said)
    assert await shelf.kept.topics() == [KeptTopic("n", 5, True, None, 5)]


async def test_what_somebody_wrote_in_the_place_of_a_hash_stops_nobody(shelf: Shelf) -> None:
    for key in (shelf.names.kept(), shelf.names.readings()):
        await shelf.commands.execute("SET", key, "nonsense")
    await shelf.kept.announce("n")
    assert await shelf.kept.read("shop", "n", "all") == ["n"]


async def test_a_reader_is_entered_with_its_node_and_seen_again(shelf: Shelf) -> None:
    await shelf.kept.read("packers", "n*", "all", node="shop")
    (first,) = await shelf.kept.readings()
    assert (first.group, first.pattern, first.since, first.node) == ("packers", "n*", "all", "shop")
    assert first.at == first.seen
    said = {"since": "all", "node": "shop", "at": first.at, "seen": 1, "retired": 2}
    await shelf.commands.execute("HSET", shelf.names.readings(), "packers n*", orjson.dumps(said))
    await shelf.kept.read("packers", "n*", "all", node="shop")
    (again,) = await shelf.kept.readings()
    assert again.seen >= first.seen
    assert (again.at, again.retired) == (first.at, 0)


async def test_who_read_before_redis_lost_everything_misses_nothing_that_is_sent_afterwards(shelf: Shelf) -> None:
    others = Kept(shelf.streams)
    await others.announce("n")
    assert await shelf.kept.read("shop", "n", "new") == ["n"]
    for key in (shelf.names.kept(), shelf.names.readings(), shelf.names.stream("n")):
        await shelf.commands.execute("DEL", key)
    await others.announce("n")
    await shelf.append("n", 3, 1, ("", ""))
    await shelf.kept.read("shop", "n", "new", ["n"])  # it is entered again, a moment later
    await others.announce("n")
    words = ("XREADGROUP", "GROUP", "shop", "shop.0.e1", "STREAMS", shelf.names.stream("n"), ">")
    assert len((await shelf.commands.execute(*words))[0][1]) == 3


def test_a_service_keeps_the_last_messages_and_everybody_gets_them_live(hive: HiveTest) -> None:
    class Thermometer(Node):
        def services(self) -> None:
            self.add_service("temperature", self.measure, keep=200)

        def measure(self, service: Any) -> int:
            for number in range(2000):
                service.send(number)
            service.flush()
            return 1

    node = hive.start(Thermometer)
    assert [hive.expect("temperature", timeout=5).payload for _ in range(2000)] == list(range(2000))
    eventually(lambda: node.bound_services[0].record().state == "finished")
    numbers = asyncio.run(kept_numbers(hive))
    assert numbers == list(range(2000))[-len(numbers) :]
    assert 200 <= len(numbers) < 400


async def kept_numbers(hive: HiveTest) -> list[int]:
    shelf = Shelf(hive.settings.redis_url, hive.settings.name)
    try:
        found = await shelf.commands.execute("XRANGE", shelf.names.stream("temperature"), "-", "+")
    finally:
        await shelf.commands.aclose()
    return [orjson.loads(fields[1])["d"] for _, fields in found]
