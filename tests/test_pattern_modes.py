"""How a hive keeps its patterns: fixed when it starts, the same for all, and seen by commands and clients."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hivemind
from hivemind import Node, service, subscription
from hivemind.data.directory import Directory
from hivemind.data.records import About, Instance, Stats, SubscriptionRecord
from hivemind.errors import RedisDenied
from hivemind.picture.health import judge
from hivemind.picture.state import State
from hivemind.testing import HiveTest

from .bus_kit import Collector, on_bus
from .cli_kit import SENDER, Place, place
from .node_kit import Workshop, workshop
from .patterns_kit import on_the_root, patterns_in, resident, stored
from .servers import Connection, RedisServer
from .waiting import eventually, eventually_async

RECEIVER = """
    from hivemind import Node, subscription

    class Receiver(Node):
        @subscription("n.*")
        def hear(self, payload, message):
            print("heard", message.topic, payload, flush=True)
"""
TALKER = """
    from hivemind import Node, service

    class Talker(Node):
        @service("n.steady", every=0.05)
        def tick(self, service):
            self.count = getattr(self, "count", 0) + 1
            service.send(self.count)
            self.send(f"n.{self.count}", self.count)
            self.send(f"other.{self.count}", self.count)
"""


class Hearer(Node):
    """Tells what it heard."""

    @subscription("n.*")
    async def hear(self, payload: Any) -> None:
        self.send("heard", payload)


class Talker(Node):
    """Sends on its service's topic once, at once."""

    @service("n.first")
    async def talk(self, service: Any) -> int:
        service.send("first")
        self.send("n.second", "second")
        return 1


@pytest.fixture
def resolved(own_server: RedisServer, hive_name: str) -> Iterator[HiveTest]:
    with HiveTest(own_server.url, hive_name, {"PATTERNS": "resolved"}) as hive:
        yield hive


@pytest.fixture
def shop(tmp_path: Path, own_server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, own_server, hive_name) as made:
        made.write("receiver.py", RECEIVER)
        made.write("talker.py", TALKER)
        yield made


# -- nodes


@pytest.mark.every_server
def test_nodes_of_a_resolved_hive_need_no_patterns_and_miss_nothing(
    resolved: HiveTest, own_server: RedisServer
) -> None:
    before = patterns_in(own_server)  # the test's own
    node = resolved.start(Hearer)
    resolved.start(Talker)
    assert {resolved.expect("heard", 5).payload for _ in range(2)} == {"first", "second"}
    resolved.send("n.third", "third")
    assert resolved.expect("heard", 5).payload == "third"
    assert patterns_in(own_server) == before
    assert node.bound_subscriptions[0].record().missed == 0


def test_a_node_that_stops_leaves_no_trace_in_the_directory(
    resolved: HiveTest, own_server: RedisServer, hive_name: str
) -> None:
    node = resolved.start(Hearer)
    assert "hearer.0" in stored(own_server, hive_name, "resolvers")
    resolved.stop(node)
    assert stored(own_server, hive_name, "resolvers") == stored(own_server, hive_name, "resolved") == {}


@pytest.mark.every_server
def test_a_hive_whose_redis_is_emptied_goes_on_and_writes_its_mode_again(
    resolved: HiveTest, own_server: RedisServer, hive_name: str
) -> None:
    resolved.start(Hearer)
    resolved.send("n.one", 1)
    assert resolved.expect("heard", 5).payload == 1
    own_server.command("FLUSHALL")
    resolved.send("n.one", 2)
    assert resolved.expect("heard", 5).payload == 2
    eventually(lambda: own_server.command("GET", f"hm:{{{hive_name}}}:patterns") == "resolved")
    eventually(lambda: "hearer.0" in stored(own_server, hive_name, "resolvers"))
    resolved.send("n.two", 3)
    assert resolved.expect("heard", 5).payload == 3


@pytest.mark.every_server
def test_a_frozen_receiver_delays_a_new_topic_for_a_second_and_no_other(shop: Workshop) -> None:
    frozen = shop.run("receiver.py", HIVEMIND_PATTERNS="resolved", HIVEMIND_LEASE="30")
    frozen.says("running")
    with Connection_to(shop) as heard:
        frozen.signal(signal.SIGSTOP)
        try:
            shop.run("talker.py", HIVEMIND_PATTERNS="resolved").says("running")
            first = {topic: heard.first(topic) for topic in ("other.1", "n.1", "other.9")}
            assert 0.5 < first["n.1"] - first["other.1"] < 1.7
        finally:
            frozen.signal(signal.SIGCONT)
    frozen.says("heard n.steady")
    frozen.says("missed")


class Connection_to:  # noqa: N801 - reads as a verb of the test
    """Everything that is published in a workshop's hive, as Redis sees it, and when."""

    def __init__(self, shop: Workshop) -> None:
        self._connection = Connection(Path(shop.url.removeprefix("unix://")), 10.0)
        self._prefix = f"hm:{shop.hive}:t:"
        self._connection.ask("PSUBSCRIBE", f"{self._prefix}*")
        self._seen: dict[str, float] = {}

    def first(self, topic: str) -> float:
        """When the first message came on ``topic``, on the monotonic clock."""
        while topic not in self._seen:
            *_, channel, _ = self._connection.read()
            self._seen.setdefault(channel.removeprefix(self._prefix), time.monotonic())
        return self._seen[topic]

    def __enter__(self) -> Connection_to:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


# -- the mode


def test_the_first_instance_decides_and_others_follow_it_and_say_so(shop: Workshop, own_server: RedisServer) -> None:
    receiver = shop.run("receiver.py", HIVEMIND_PATTERNS="resolved")
    receiver.says("running")
    talker = shop.run("talker.py", HIVEMIND_PATTERNS="server")
    talker.says('PATTERNS is "server", but this hive runs with "resolved"')
    receiver.says("heard n.1 1")
    assert talker.output.count("PATTERNS is") == 1
    assert "PATTERNS is" not in receiver.output
    assert patterns_in(own_server) == 0


def test_when_nobody_lives_the_next_one_decides(shop: Workshop, own_server: RedisServer) -> None:
    key = f"hm:{{{shop.hive}}}:patterns"
    first = shop.run("receiver.py")
    first.says("running")
    assert (own_server.command("GET", key), patterns_in(own_server)) == ("server", 1)
    first.signal(signal.SIGTERM)
    first.ends()
    second = shop.run("receiver.py", HIVEMIND_PATTERNS="resolved")
    assert "PATTERNS is" not in second.says("running")
    assert (own_server.command("GET", key), patterns_in(own_server)) == ("resolved", 0)


def test_a_hive_that_was_begun_anew_in_another_way_is_told_of(
    resolved: HiveTest, own_server: RedisServer, hive_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    resolved.start(Hearer)
    key = f"hm:{{{hive_name}}}:"
    with Connection(own_server.socket) as redis:
        redis.ask("MULTI")
        redis.ask("FLUSHALL")
        redis.ask("HSET", f"{key}node:joker.0", "incarnation", "1")
        redis.ask("SADD", f"{key}nodes", "joker.0")
        redis.ask("SET", f"{key}patterns", "server")
        redis.ask("EXEC")
    eventually(lambda: 'somebody began this hive anew with PATTERNS = "server"' in caplog.text)


async def test_nonsense_in_the_place_of_the_mode_is_replaced(own_server: RedisServer) -> None:
    own_server.command("SADD", "hm:{t}:patterns", "nonsense")
    own_server.command("SET", "hm:{t}:resolvers", "nonsense")
    own_server.command("SET", "hm:{t}:topics", "nonsense")
    async with resident(own_server.url, "t", "bruce.0") as bruce, resident(own_server.url, "t", "alfred.0") as alfred:
        assert bruce.registry.patterns == "resolved"
        got = await Collector("n.*").join(bruce.bus)
        own_server.command("HSET", "hm:{t}:resolvers", "joker.0", "nonsense")
        own_server.command("PUBLISH", "hm:t:c:topics", '{"version": "x", "topics": [1, "a b", "n.*"]}')
        own_server.command("PUBLISH", "hm:t:c:topics", "nonsense")
        alfred.bus.send("n.1", 1)
        assert await got.has(1) == [1]


def test_in_a_hive_with_server_patterns_nothing_is_announced_or_held(own_server: RedisServer, hive_name: str) -> None:
    with HiveTest(own_server.url, hive_name) as hive:
        hive.start(Hearer)
        talker = hive.start(Talker)
        hive.expect("heard", 5)
        assert talker.bus.outbox.spool.on_new is None
        assert own_server.command("EXISTS", f"hm:{{{hive_name}}}:topics", f"hm:{{{hive_name}}}:resolvers") == 0


# -- clients and commands


@pytest.mark.every_server
def test_a_client_announces_what_it_sends_and_hears_all_topics(
    resolved: HiveTest, own_server: RedisServer, hive_name: str
) -> None:
    resolved.start(Hearer)
    url = f"{own_server.url}?hive={hive_name}"
    with hivemind.connect(url) as client, client.subscribe("n.*") as heard:
        client.send("n.client", "hi")
        client.flush()
        assert resolved.expect("heard", 5).payload == "hi"
        own_server.command("PUBLISH", f"hm:{hive_name}:t:n.foreign", "1")
        assert {next(heard).payload for _ in range(2)} == {"hi", 1}


async def test_a_client_that_was_there_before_the_hive_announces_when_that_starts(own_server: RedisServer) -> None:
    async with hivemind.connect(f"{own_server.url}?hive=t") as client:
        client.send("n.early", 0)
        async with resident(own_server.url, "t", "bruce.0") as bruce:
            got = await Collector("n.*").join(bruce.bus)
            await eventually_async(lambda: own_server.command("ZCARD", "hm:{t}:topics") == 1)
            client.send("n.early", 1)
            client.send("n.late", 2)
            assert sorted(await got.has(2)) == [1, 2]


@pytest.mark.parametrize("kind", ["SET", "SADD"])
async def test_nonsense_in_the_place_of_the_mode_silences_no_client(own_server: RedisServer, kind: str) -> None:
    async with resident(own_server.url, "t", "bruce.0") as bruce:
        got = await Collector("n.*").join(bruce.bus)
        bruce.bus.send("n.any", 0)
        await got.has(1)
        own_server.command("DEL", "hm:{t}:patterns")
        own_server.command(kind, "hm:{t}:patterns", "nonsense")
        async with hivemind.connect(f"{own_server.url}?hive=t") as client:
            client.send("n.client", 1)
            await client.flush()
            assert await got.has(2) == [0, 1]


async def test_an_onlooker_looks_at_the_directory_as_soon_as_it_is_connected_again(own_server: RedisServer) -> None:
    async with resident(own_server.url, "t", "bruce.0"), hivemind.connect(f"{own_server.url}?hive=t") as client:
        client.send("n.client", 1)
        await client.flush()
        own_server.command("DEL", "hm:{t}:topics")
        client.bus.outbox.link.drop("a test")
        client.bus.live.link.drop("a test")
        await eventually_async(lambda: own_server.command("ZSCORE", "hm:{t}:topics", "n.client"), 5.0)


async def test_who_cannot_be_asked_about_is_not_said_to_live(own_server: RedisServer) -> None:
    async with resident(own_server.url, "t", "bruce.0"):
        own_server.command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-exists")
        async with on_bus(f"unix://bob:pw@{own_server.socket}", "x.0") as bus:
            with pytest.raises(RedisDenied):
                await Directory(bus.commands, bus.functions, bus.names).reported(["bruce.0"])


@pytest.fixture
def here(tmp_path: Path, own_server: RedisServer, hive_name: str) -> Iterator[Place]:
    environ = {"HIVEMIND_REDIS_URL": own_server.url, "HIVEMIND_HIVE_NAME": hive_name}
    with place(tmp_path, HIVEMIND_HEARTBEAT="0.3", HIVEMIND_LEASE="1.2", **environ) as made:
        made.write("sender.py", SENDER)
        yield made


def test_hm_pub_reaches_who_resolves(here: Place, resolved: HiveTest) -> None:
    resolved.start(Hearer)
    assert here.run("pub", "n.typed", "42").returncode == 0
    assert resolved.expect("heard", 5).payload == 42


def test_topics_of_foreign_programs_are_announced_by_hand(
    here: Place, resolved: HiveTest, own_server: RedisServer, hive_name: str
) -> None:
    resolved.start(Hearer)
    done = here.run("topics", "add", "n.foreign", "n.other", "n.foreign")
    assert (done.returncode, done.stdout) == (0, "announced 2 topics\n")
    own_server.command("PUBLISH", f"hm:{hive_name}:t:n.foreign", "7")
    assert resolved.expect("heard", 5).payload == 7
    again = here.run("topics", "add", "n.foreign", "n.third")
    assert again.stdout == "announced 1 topic\nn.foreign is announced already\n"
    assert "n.foreign  (announced)" in here.run("topics").stdout
    assert asyncio.run(on_the_root(own_server.url, resolved)) == [["n.foreign", "n.other", "n.third"]] * 4
    assert 'it runs with PATTERNS = "resolved"' in here.run("status", HIVEMIND_PATTERNS="resolved").stderr
    assert 'although default says "server"' in here.run("status").stderr


def test_where_redis_matches_patterns_announcing_says_that_it_is_not_needed(
    here: Place, own_server: RedisServer, hive_name: str
) -> None:
    with HiveTest(own_server.url, hive_name) as hive:
        hive.start(Hearer)
        done = here.run("topics", "add", "n.foreign")
    assert done.returncode == 0
    assert "found without that" in done.stderr


@pytest.mark.parametrize("name", ["n.*", "n.[ab]", "a b", ""])
def test_what_is_no_topic_is_not_announced(here: Place, own_server: RedisServer, name: str) -> None:
    done = here.run("topics", "add", "good", name)
    assert done.returncode == 2
    assert ("is a pattern" in done.stderr) == ("n." in name)
    assert own_server.command("KEYS", "*") == []


# -- advice


def instances(*patterns: str, lost: bool = False) -> list[Instance]:
    records = tuple(SubscriptionRecord(pattern) for pattern in patterns)
    about = About("batman", "here", 1, 0.0, 6.0)
    return [Instance("batman.0", 1, None if lost else 1.0, about, Stats(subscriptions=records))]


MANY = [f"n.{number}.*" for number in range(10)]


def advice(found: list[Instance], mode: str) -> str:
    return "; ".join(judge("gotham", found, State(patterns=mode)).notes)


def test_from_ten_patterns_on_status_says_what_they_cost_and_what_to_do() -> None:
    text = advice(instances(*MANY, *MANY, "plain"), "server")
    assert "10 distinct patterns" in text
    assert 'PATTERNS = "resolved"' in text
    assert "stop the whole hive, then start it" in text


@pytest.mark.parametrize(
    ("found", "mode"),
    [
        (instances(*MANY[:9], "plain", "other"), "server"),
        (instances(*MANY), "resolved"),
        (instances(*MANY, lost=True), "server"),
    ],
    ids=["few", "resolved", "lost"],
)
def test_status_gives_no_advice_where_none_is_needed(found: list[Instance], mode: str) -> None:
    assert "distinct" not in advice(found, mode)


def test_status_counts_the_patterns_of_a_running_hive(here: Place) -> None:
    lines = "\n".join(f"        self.add_subscription('n.{one}.*', self.log_info)" for one in range(12))
    here.write("many.py", f"from hivemind import Node\nclass Many(Node):\n    def subscriptions(self):\n{lines}\n")
    node = here.hm("run", "many.py")
    node.says("running")

    def counted() -> dict[str, Any] | None:
        found: dict[str, Any] = json.loads(here.run("status", "--json").stdout)
        return found if any("12 distinct patterns" in note for note in found["notes"]) else None

    assert (eventually(counted) or {})["well"]


async def test_messages_of_a_sender_that_does_not_announce_reach_exact_subscriptions(own_server: RedisServer) -> None:
    async with resident(own_server.url, "t", "bruce.0") as bruce, on_bus(own_server.url, "x.0") as stranger:
        got = await Collector("plain").join(bruce.bus)
        stranger.send("plain", 1)
        assert await got.has(1) == [1]
