"""The home of a hive on a Cluster, with what is kept and requests: replaced, killed, frozen, and its slot moved."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clusters import Cluster, ClusterNode
from .node_kit import Workshop
from .waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RATE = 1000  # messages a second
SENDER = f"""
    import time
    from pathlib import Path
    from hivemind import Node, Service, Unconfirmed, service

    class Sender(Node):
        @service("order", durable=True)
        def sell(self, service: Service):
            begun, sent = time.monotonic(), 0
            with Path("safe").open("a", buffering=1) as safe:
                while not Path("enough").exists():
                    due = min(int((time.monotonic() - begun) * {RATE}), sent + {RATE})
                    for number in range(sent + 1, due + 1):
                        service.send(number)
                    while True:
                        try:
                            service.flush(30.0)
                            break
                        except Unconfirmed:
                            print("unconfirmed", flush=True)
                    sent = due
                    print(sent, time.time(), file=safe)
                    if not service.sleep_for(0.02):
                        return 1
            return 1
"""
READER = """
    from pathlib import Path
    from hivemind import Node, subscription

    class Reader(Node):
        def on_start(self):
            self.handled = Path(f"handled.{self.instance}").open("a", buffering=1)

        @subscription("order", durable=True, since="all", dedupe="1h")
        def pack(self, payload: int):
            print(payload, file=self.handled)
"""
ASKER = """
    import asyncio
    import time
    from pathlib import Path
    from hivemind import Node, service

    class Asker(Node):
        @service("asks")
        async def ask(self, service):
            number = 0
            with Path("replies").open("a", buffering=1) as replies:
                while not Path("enough").exists():
                    number, begun = number + 1, time.monotonic()
                    try:
                        said = await self.request("double", number, timeout=30)
                    except Exception as error:
                        said = repr(error)
                    print(number, said == 2 * number, round(time.monotonic() - begun, 2), said, file=replies)
            return 1
"""
ANSWERER = """
    from hivemind import Node, responder

    class Answerer(Node):
        @responder("double")
        async def double(self, number: int):
            return 2 * number
"""
LISTENER = """
    from pathlib import Path
    from hivemind import Node, subscription

    class Listener(Node):
        def on_start(self):
            self.heard = Path("heard").open("a", buffering=1)

        @subscription("ord*")
        def hear(self, payload: int):
            print(payload, file=self.heard)
"""


@pytest.fixture
def pairs(server_program: Path) -> Iterator[Cluster]:
    """Three primaries with a replica each: anybody may be killed."""
    with Cluster(server_program, replicas=3) as made:
        yield made


class Trade(Workshop):
    """A hive whose nodes send, read, ask and answer all the time, and write down what they did."""

    patterns = ""

    def begin(self, confirm: str = "replica") -> Trade:
        """Start all; return when messages and requests flow. What ``safe`` names is confirmed at that tier."""
        nodes = {"sender": SENDER, "reader": READER, "asker": ASKER, "answerer": ANSWERER, "listener": LISTENER}
        for name, code in nodes.items():
            self.write(f"{name}.py", code)
        words = {"HIVEMIND_PATTERNS": self.patterns, "HIVEMIND_CONFIRM": confirm}
        words |= {"HIVEMIND_LEASE": "6", "HIVEMIND_HEARTBEAT": "1"}
        first = ("reader", "reader", "listener", "answerer", "answerer")
        for one in [self.run(f"{name}.py", **words) for name in first]:
            one.says("running: ")
        self.run("asker.py", **words)
        self.sender = self.run("sender.py", **words)
        eventually(lambda: self.sent > RATE and len(self.replies) > 100, within=30)
        return self

    def lines(self, name: str) -> list[list[str]]:
        path = self.folder / name
        return [line.split(" ", 3) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def sent(self) -> int:
        """How many the sender knows to be safe."""
        said = self.lines("safe")
        return int(said[-1][0]) if said else 0

    @property
    def replies(self) -> list[list[str]]:
        return self.lines("replies")

    def handled(self) -> Counter[int]:
        files = [path.name for path in self.folder.glob("handled.*")]
        return Counter(int(line[0]) for name in files for line in self.lines(name))

    def goes_on(self) -> float:
        """Return after how many seconds messages and requests flow again."""
        begun, sent, asked = time.monotonic(), self.sent + RATE, len(self.replies) + 100
        eventually(lambda: self.sent > sent and len(self.replies) > asked, within=40)
        return time.monotonic() - begun

    def answers(self) -> float:
        """Return after how many seconds requests flow again."""
        begun, asked = time.monotonic(), len(self.replies) + 100
        eventually(lambda: len(self.replies) > asked, within=40)
        return time.monotonic() - begun

    def settles(self, *, may_double: bool = False) -> None:
        """All that was sent is handled, and heard live, once and in order; every request had its reply.

        What a home gave out and its replica never had is not confirmed, and sent again: that ``may_double``.
        """
        (self.folder / "enough").touch()
        self.sender.says("is finished", within=30)
        eventually(lambda: len(self.handled()) >= self.sent, within=30)
        everything = list(range(1, self.sent + 1))
        assert sorted(self.handled() if may_double else self.handled().elements()) == everything
        eventually(lambda: len(self.lines("heard")) >= len(everything), within=20)
        assert [int(line[0]) for line in self.lines("heard")] == everything
        assert [line for line in self.replies if line[1] != "True"] == []


@pytest.fixture(params=["resolved", pytest.param("server", marks=pytest.mark.long)])
def trade(request: pytest.FixtureRequest, pairs: Cluster, tmp_path: Path, hive_name: str) -> Iterator[Trade]:
    made = Trade(tmp_path, pairs.url, hive_name)
    made.patterns = request.param
    try:
        yield made
    finally:
        made.close()


def replica_of(cluster: Cluster, primary: ClusterNode) -> ClusterNode:
    return cluster.nodes[cluster.nodes.index(primary) + 3]


def promoted(cluster: Cluster, home: ClusterNode) -> None:
    eventually(lambda: replica_of(cluster, home).is_primary, within=20)


def test_a_home_that_is_replaced_by_hand_costs_no_message_and_no_request(pairs: Cluster, trade: Trade) -> None:
    home = pairs.owner(trade.hive)
    trade.begin(confirm="second")
    replica_of(pairs, home).command("CLUSTER", "FAILOVER")
    promoted(pairs, home)
    trade.goes_on()
    trade.settles()


def test_a_home_that_is_killed_costs_no_message_that_its_replica_had_and_no_request(
    pairs: Cluster, trade: Trade
) -> None:
    home = pairs.owner(trade.hive)
    trade.begin()
    home.kill()
    promoted(pairs, home)
    trade.answers()
    home.start()  # as a replica: without one nothing is confirmed
    trade.goes_on()
    trade.settles(may_double=True)


@pytest.mark.long
def test_a_home_that_stands_still_is_left_as_soon_as_it_is_replaced_and_confirms_nothing_when_it_is_back(
    pairs: Cluster, trade: Trade
) -> None:
    home = pairs.owner(trade.hive)
    trade.begin()
    home.freeze()
    promoted(pairs, home)
    trade.answers()
    home.thaw()
    trade.goes_on()
    trade.settles(may_double=True)


def test_the_slot_of_the_home_moves_with_all_that_is_in_it(pairs: Cluster, trade: Trade) -> None:
    trade.begin()
    pairs.move(trade.hive, pairs.others(trade.hive)[0])
    trade.goes_on()
    trade.settles()
