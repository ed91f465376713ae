"""Whole hives on a Redis Cluster: hived, nodes as processes, hm, in both ways to keep patterns."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

import hivemind
from hivemind.bus.cluster import slot_of

from .clusters import Cluster
from .hive_kit import Hive, hive_in
from .waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TALKER = """
    from hivemind import Node, service

    class Talker(Node):
        @service("n.0", every=0.05)
        def tick(self, service):
            self.count = getattr(self, "count", 0) + 1
            for number in range(8):
                self.send(f"n.{number}", self.count)
"""
HEARER = """
    from hivemind import Node, subscription

    class Hearer(Node):
        @subscription("n.*")
        def hear_all(self, payload, message):
            self.send(f"all.{message.topic}", payload)

        @subscription("n.3")
        def hear_one(self, payload):
            self.send("one", payload)
"""


@pytest.fixture(scope="module", params=[pytest.param("server", marks=pytest.mark.long), "resolved"])
def hive(request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    with hive_in(tmp_path_factory.mktemp(request.param) / "gotham") as made:
        made.configure(f"REDIS_URL = {cluster.url!r}\nPATTERNS = {request.param!r}")
        for node in cluster.nodes:
            node.command("FLUSHALL")
        made.node("talker", TALKER)
        made.node("hearer", HEARER)
        made.start()
        yield made


def client(cluster: Cluster) -> hivemind.Client:
    return hivemind.connect(f"{cluster.url}?hive=gotham")


def test_nodes_hear_each_other_by_exact_topics_and_by_patterns(hive: Hive, cluster: Cluster) -> None:
    with client(cluster) as gotham, gotham.subscribe("all.*") as every, gotham.subscribe("one") as one:
        first = one.receive(10)
        assert first is not None
        found: dict[str, list[int]] = {}
        while len(found) < 8 or min(map(len, found.values())) < 5:
            message = every.receive(10)
            assert message is not None
            found.setdefault(message.topic, []).append(message.payload)
        assert sorted(found) == [f"all.n.{number}" for number in range(8)]
        for numbers in found.values():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    shards = [node.command("PUBSUB", "SHARDCHANNELS", "hm:gotham:t:*") for node in cluster.primaries]
    assert all(shards) if "resolved" in (hive.folder / "config/hive.py").read_text() else not any(shards)


def test_status_and_nodes_know_the_hive(hive: Hive) -> None:
    eventually(lambda: hive.run("hm", "status").stdout.startswith("gotham is well: 2 instances"), within=20)
    nodes = hive.run("hm", "nodes")
    assert {"talker.0", "hearer.0"} <= set(nodes.stdout.split()), nodes.stderr


def test_a_node_that_hangs_is_found(hive: Hive) -> None:
    pid = hive.pids()["hearer.0"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: hive.pids()["hearer.0"] not in (None, pid), within=20)
    assert "hearer.0" in hive.log("hived")


def test_pub_is_shown_by_tail(hive: Hive) -> None:
    tail = subprocess.Popen(
        hive.command("hm", "tail", "spoken.*"), cwd=hive.folder, env=hive.environ, text=True, stdout=-1, stderr=-1
    )
    try:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert any("listening to spoken.*" in line for line in iter(tail.stderr.readline, ""))
        assert hive.run("hm", "pub", "spoken.word", "1").returncode == 0
        assert hive.run("hm", "pub", "spoken.word", "2").returncode == 0
        assert "spoken.word" in tail.stdout.readline()
    finally:
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=10)


def test_a_primary_that_died_without_a_replica_is_named_until_it_is_back(hive: Hive, cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
    victim = cluster.owner("hm:gotham:t:{n.3}")
    assert victim is not cluster.owner("gotham")  # whose death nobody could look past
    victim.stop()
    told = f"127.0.0.1:{victim.port} of the Cluster does not answer: what goes there waits"
    eventually(lambda: told in hive.run("hm", "status").stdout, within=20)
    if "resolved" in (hive.folder / "config/hive.py").read_text():
        eventually(lambda: "of its messages wait in its outbox" in hive.run("hm", "why", "talker").stdout, within=20)
        assert "wait in the outbox of" in hive.run("hm", "status").stdout
        assert "in its outbox" in hive.run("hm", "nodes").stdout
    victim.start()
    eventually(lambda: hive.run("hm", "status").stdout.startswith("gotham is well"), within=30)
    eventually(lambda: "in the outbox" not in hive.run("hm", "status").stdout, within=20)


def test_a_node_is_restarted_and_the_hive_stopped(hive: Hive, cluster: Cluster) -> None:
    done = hive.run("hm", "restart", "talker")
    assert done.returncode == 0, done.stderr
    with client(cluster) as gotham, gotham.subscribe("all.n.7") as heard:
        assert heard.receive(10) is not None
    assert hive.run("hived", "stop").returncode == 0
    assert cluster.owner("gotham").command("SMEMBERS", "hm:{gotham}:nodes") == []
    assert slot_of("hm:{gotham}:nodes") == slot_of("gotham")
