"""A node begins when what it needs consumes: judged as data, and by lives on a real Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hivemind import Node
from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.cancelling import end
from hivemind.data.needs import Party, Wait, needed, parties, rings, wait_of
from hivemind.data.records import Instance, MemberRecord, Stats, SubscriptionRecord
from hivemind.node.life import Life, Place
from hivemind.settings import Constants, Settings
from hivemind.states import NodeState
from hivemind.topics import Names

from .node_kit import registered
from .servers import RedisServer
from .test_registry import about
from .waiting import eventually_async

pytestmark = pytest.mark.timeout(90)

ALFRED = Party("alfred", is_ready=True, receives=("tea", "order.*"))
LATE = Party("alfred", is_ready=False, receives=("tea", "order.*"))


@pytest.mark.parametrize(
    ("need", "known", "missing"),
    [
        ("alfred", [ALFRED], ()),
        ("alfred", [LATE], ("alfred",)),
        ("alfred", [], ("alfred",)),
        ("topic:tea", [ALFRED], ()),
        ("topic:tea", [LATE], ("topic:tea",)),
        ("topic:alfred", [ALFRED], ("topic:alfred",)),
        ("order.42", [ALFRED], ()),
        ("tea", [ALFRED], ("tea",)),  # a word is a node's name
        ("order.42", [Party("order.42", is_ready=True)], ()),
    ],
)
def test_a_need_is_a_node_that_consumes_or_a_topic_that_one_receives(
    need: str, known: list[Party], missing: tuple[str, ...]
) -> None:
    assert wait_of("batman", {"batman": [need]}, known) == Wait(missing)


RING = {"batman": ["robin"], "robin": ["alfred"], "alfred": ["batman", "cook"], "joker": ["batman"]}


def test_nodes_in_one_ring_of_needs_do_not_wait_for_one_another_but_for_all_others() -> None:
    assert rings(RING) == [("alfred", "batman", "robin")]
    assert wait_of("batman", RING, []) == Wait(ring=("robin",))
    assert wait_of("alfred", RING, []) == Wait(("cook",), ("batman",))
    assert wait_of("joker", RING, []) == Wait(("batman",))


def test_a_ring_may_go_through_a_topic() -> None:
    needs = {"batman": ["topic:tea"], "alfred": ["batman"]}
    assert wait_of("batman", needs, []) == Wait(("topic:tea",))
    assert wait_of("batman", needs, [LATE]) == Wait(ring=("topic:tea",))
    assert wait_of("alfred", needs, [LATE]) == Wait(ring=("batman",))


def test_a_process_is_its_members() -> None:
    tunings = Constants(NODES={"a": {"process": "small", "needs": ["b"]}, "b": {"process": "small", "needs": ["c"]}})
    assert needed(tunings.NODES) == {"a": ("b",), "small": ("a", "b"), "b": ("c",)}
    received = (SubscriptionRecord("x", member="a"), SubscriptionRecord("y", member="b"))
    members = (MemberRecord("a", "waiting"), MemberRecord("b", "running"), MemberRecord("c", "broken"))
    one = Instance("small.0", 1, 2.0, about(6.0), Stats(subscriptions=received, members=members))
    assert parties([one])[:3] == [Party("small", False), Party("a", False, ("x",)), Party("b", True, ("y",))]


def test_who_was_lost_is_nobody() -> None:
    assert parties([Instance("alfred.0", 1, None, about(6.0), Stats())]) == []


# -- lives


class Member(Node):
    """Receives ``to.<its name>``; ``early`` is what was not subscribed to yet when it began."""

    def __init__(self, name: str, look: Callable[[], Sequence[str]] = tuple) -> None:
        super().__init__(name)
        self.look, self.early, self.heard = look, list[str](), list[Any]()

    def subscriptions(self) -> None:
        self.add_subscription(f"to.{self.name}", self.hear)

    async def hear(self, payload: Any) -> None:
        self.heard.append(payload)

    def on_start(self) -> None:
        self.early += self.look()


class Town:
    """Nodes of one hive, all on this loop."""

    def __init__(self, server: RedisServer, hive: str, needs: Mapping[str, Sequence[str]]) -> None:
        nodes = {name: {"needs": list(each)} for name, each in needs.items()}
        constants = Constants(HIVE_NAME=hive, REDIS_URL=server.url, HEARTBEAT=0.3, LEASE=1.5, NODES=nodes)
        self.server, self.settings, self.names = server, Settings(constants, {}, None), Names(hive)
        self.lives: list[tuple[Life, asyncio.Task[None]]] = []

    def start(self, node: Node, *, is_successor: bool = False) -> Node:
        node._hm.bind()
        bus = Bus(Endpoint.parse(self.server.url), self.settings.name, node.name)
        life = Life(node, self.settings, bus, Place(is_successor=is_successor), "test")
        self.lives.append((life, asyncio.create_task(life.start())))
        return node

    def is_subscribed(self, name: str) -> bool:
        """Whether Redis has the subscription of that node."""
        return bool(self.server.command("PUBSUB", "NUMSUB", self.names.live(f"to.{name}"))[1])

    def told(self, name: str) -> tuple[str, str]:
        """State, and what it waits for, as the registry has it."""
        found = registered(self.server, self.settings.name, f"{name}.0") or {"state": "", "waits_for": ""}
        return found["state"], found["waits_for"]

    async def runs(self, *nodes: Node) -> None:
        await eventually_async(lambda: all(each._hm.state is NodeState.RUNNING for each in nodes), 20)


@asynccontextmanager
async def town(server: RedisServer, hive: str, needs: Mapping[str, Sequence[str]]) -> AsyncIterator[Town]:
    made = Town(server, hive, needs)
    try:
        yield made
    finally:
        for life, starting in made.lives:
            await end(starting)
            await life.stop(5.0)


@pytest.mark.parametrize("seed", [random.randrange(2**32) for _ in range(3)], ids=lambda _: "seed")
async def test_nobody_begins_before_what_it_needs_is_subscribed_whatever_starts_first(
    server: RedisServer, hive_name: str, seed: int
) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    names = [f"n{number}" for number in range(12)]
    needs = {name: rng.sample(names[:at], min(at, rng.randrange(3))) for at, name in enumerate(names)}
    written = {name: [rng.choice([one, f"topic:to.{one}"]) for one in each] for name, each in needs.items()}
    async with town(server, hive_name, written) as made:

        def member(name: str) -> Node:
            return Member(name, lambda: [one for one in needs[name] if not made.is_subscribed(one)])

        nodes = [made.start(member(name)) for name in rng.sample(names, len(names))]
        await made.runs(*nodes)
        assert {node.name: node.early for node in nodes if isinstance(node, Member) and node.early} == {}


async def test_who_is_missing_delays_those_that_need_it_and_nobody_else(server: RedisServer, hive_name: str) -> None:
    async with town(server, hive_name, {"batman": ["alfred", "topic:tea"]}) as made:
        batman, robin = made.start(Member("batman")), made.start(Member("robin"))
        await made.runs(robin)
        await eventually_async(lambda: made.told("batman") == ("waiting", "alfred and the topic tea"))
        assert not made.is_subscribed("batman")
        alfred = made.start(Member("alfred"))
        await made.runs(alfred)
        await eventually_async(lambda: made.told("batman") == ("waiting", "the topic tea"))
        cook = Member("cook")
        cook.add_subscription("t*", cook.hear)
        made.start(cook)
        await made.runs(batman)
        await eventually_async(lambda: made.told("batman") == ("running", ""))


async def test_nodes_that_need_one_another_begin_and_say_so(
    server: RedisServer, hive_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with town(server, hive_name, {"batman": ["robin"], "robin": ["topic:to.batman"]}) as made:
        await made.runs(made.start(Member("batman")), made.start(Member("robin")))
    assert "does not wait for robin: they need one another" in caplog.text


@pytest.mark.parametrize("keep_data", [True, False])
async def test_who_waits_waits_on_while_redis_is_away(
    own_server: RedisServer, hive_name: str, *, keep_data: bool
) -> None:
    async with town(own_server, hive_name, {"batman": ["alfred"]}) as made:
        batman = made.start(Member("batman"))
        await eventually_async(lambda: made.told("batman")[0] == "waiting")
        own_server.restart(keep_data=keep_data, kill=True)
        alfred = made.start(Member("alfred"))
        await made.runs(alfred, batman)


async def test_who_waits_and_is_asked_to_stop_leaves_nothing_behind(server: RedisServer, hive_name: str) -> None:
    async with town(server, hive_name, {"batman": ["alfred"]}) as made:
        made.start(Member("batman"))
        await eventually_async(lambda: made.told("batman")[0] == "waiting")
    assert server.command("SMEMBERS", made.names.nodes()) == []


async def test_who_takes_over_from_one_that_had_begun_waits_for_nobody(server: RedisServer, hive_name: str) -> None:
    async with town(server, hive_name, {"batman": ["alfred"]}) as made:
        await made.runs(made.start(Member("batman"), is_successor=True))


async def test_who_waits_and_was_replaced_stops(server: RedisServer, hive_name: str) -> None:
    async with town(server, hive_name, {"batman": ["alfred"]}) as made:
        batman = made.start(Member("batman"))
        await eventually_async(lambda: made.told("batman")[0] == "waiting")
        server.command("HSET", made.names.node("batman.0"), "incarnation", str(2**52))
        await eventually_async(made.lives[0][0].ended.is_set)
        assert batman._hm.state is NodeState.FENCED
