"""Whole hives on a Redis Cluster: what is kept, and requests, with all that commands show and do of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import hivemind

from .clusters import Cluster
from .hive_kit import Hive, hive_in
from .waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TILL = """
    from hivemind import Node, Service, service

    class Till(Node):
        @service("order.new", durable=True, confirm="memory")
        def sell(self, service: Service):
            for number in range(200):
                service.send({"guest": number % 7, "n": number})
            service.send({"guest": 0, "n": "poison"})
            service.flush()
            service.sleep_for(3600)
            return 1

        @service("weather", keep=50, every=0.1)
        def look(self, service: Service):
            service.send("rain")
"""
PACKER = """
    from hivemind import Node, subscription

    class Packer(Node):
        @subscription("order.*", durable=True, since="all", order_by="guest", dedupe="1h", retries=1, workers=4,
                      backoff=(0.05, 0.1))
        async def pack(self, payload):
            if payload["n"] == "poison":
                raise OSError("the shelf is empty")
            with open("var/packed", "a") as packed:
                packed.write(f"{payload['guest']} {payload['n']}\\n")
"""
CLERK = """
    import asyncio
    from hivemind import Node, responder

    class Clerk(Node):
        @responder("double", workers=4)
        async def double(self, number: int):
            return 2 * number

        @responder("count", stream=True)
        async def count(self, upto: int):
            for number in range(upto):
                yield number
"""


@pytest.fixture(scope="module", params=[pytest.param("server", marks=pytest.mark.long), "resolved"])
def hive(request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    with hive_in(tmp_path_factory.mktemp(request.param) / "gotham") as made:
        made.configure(f"REDIS_URL = {cluster.url!r}\nPATTERNS = {request.param!r}")
        for node in cluster.nodes:
            node.command("FLUSHALL")
        for name, code in {"till": TILL, "packer": PACKER, "clerk": CLERK}.items():
            made.node(name, code)
        made.start()
        eventually(lambda: len(packed(made)) == 200, within=30)
        yield made


def packed(hive: Hive) -> list[tuple[str, int]]:
    lines = (hive.folder / "var/packed").read_text().splitlines()
    return [(guest, int(number)) for guest, number in map(str.split, lines)]


def told(hive: Hive, *words: str) -> str:
    done = hive.run("hm", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lag(hive: Hive) -> dict[str, tuple[int, int]]:
    """How many messages no reader has yet, and how many one has in hand, by group and topic."""
    groups = json.loads(told(hive, "lag", "--json"))
    return {f"{one['group']} {one['topic']}": (one["lag"], one["pending"]) for one in groups}


def test_each_message_is_handled_once_and_those_of_a_key_in_order(hive: Hive) -> None:
    found = packed(hive)
    assert sorted(number for _, number in found) == list(range(200))
    for guest in {guest for guest, _ in found}:
        numbers = [number for key, number in found if key == guest]
        assert numbers == sorted(numbers)
    eventually(lambda: lag(hive) == {"packer order.new": (0, 0)}, within=20)


def test_all_that_is_kept_lies_on_the_home(hive: Hive, cluster: Cluster) -> None:
    home = cluster.owner("gotham")
    there = set(home.command("KEYS", "hm:*"))
    assert {f"hm:{{gotham}}:{kind}:order.new" for kind in "sph"} | {"hm:{gotham}:s:weather"} <= there
    assert [key for node in cluster.others("gotham") for key in node.command("KEYS", "*")] == []


def letters(hive: Hive) -> list[str]:
    return [str(json.loads(line)["id"]) for line in told(hive, "dead", "list", "--json").splitlines()]


def test_dead_letters_are_listed_replayed_and_dropped(hive: Hive) -> None:
    (letter,) = eventually(lambda: letters(hive), within=20)
    assert "the shelf is empty" in told(hive, "dead", "show", letter)
    told(hive, "dead", "replay", letter)
    eventually(lambda: letters(hive) not in ([], [letter]), within=20)
    told(hive, "dead", "drop", "order.*", "--yes")
    assert letters(hive) == []


def test_commands_know_topics_and_what_is_kept_of_them(hive: Hive) -> None:
    topics = told(hive, "topics")
    assert "order.new" in topics
    assert "weather" in topics
    seen = told(hive, "tail", "weather", "--since", "3", "--count", "4")
    assert seen.count("rain") == 4
    assert told(hive, "status").startswith("gotham is well: 3 instances")


def test_requests_and_streams_are_answered(hive: Hive, cluster: Cluster) -> None:
    assert told(hive, "request", "double", "21") == "42\n"
    assert told(hive, "request", "count", "3").split() == ["0", "1", "2"]
    with hivemind.connect(f"{cluster.url}?hive=gotham") as gotham:
        assert [gotham.request("double", number) for number in range(100)] == [2 * number for number in range(100)]
        with pytest.raises(hivemind.NoResponders):
            gotham.request("nobody", 1)


def test_a_client_sends_durably_and_its_message_is_handled(hive: Hive, cluster: Cluster) -> None:
    with hivemind.connect(f"{cluster.url}?hive=gotham") as gotham:
        gotham.send("order.late", {"guest": 9, "n": 1000}, durable=True)
        gotham.flush()
    eventually(lambda: ("9", 1000) in packed(hive), within=20)


def test_a_reader_that_is_killed_or_rolled_misses_nothing(hive: Hive, cluster: Cluster) -> None:
    (victim,) = hive.copies("packer")
    victim.kill()
    with hivemind.connect(f"{cluster.url}?hive=gotham") as gotham:
        for number in range(2000, 2100):
            gotham.send("order.late", {"guest": 8, "n": number}, durable=True)
        gotham.flush()
        eventually(lambda: [n for guest, n in packed(hive) if guest == "8"] == list(range(2000, 2100)), within=30)
        told(hive, "roll", "packer")
        gotham.send("order.late", {"guest": 8, "n": 3000}, durable=True)
        gotham.flush()
    eventually(lambda: packed(hive)[-1] == ("8", 3000), within=30)
