"""hived's part in durable delivery, in a hive that it runs."""

from __future__ import annotations

import pytest

from hivemind.data.entries import Reading, reading_from
from hivemind.topics import Names

from .hive_kit import Hive
from .servers import Connection
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)


def test_hived_says_of_the_groups_of_its_nodes_that_they_are_there_also_of_those_that_are_stopped(
    running: Hive,
) -> None:
    assert running.run("hm", "stop", "robin").returncode == 0
    key = Names("gotham").readings()
    with Connection(running.folder / "var" / "redis.sock") as redis:
        for node in ("robin", "joker"):
            redis.ask("HSET", key, f"{node} x", Reading(node, "x", "all", 1, node, 1).entry(retired=5))

        def read(node: str) -> Reading:
            found = reading_from(f"{node} x", redis.ask("HGET", key, f"{node} x").encode())
            assert found is not None
            return found

        eventually(lambda: read("robin").retired == 0, within=30)
        assert (read("joker").seen, read("joker").retired) == (1, 5)
    running.run("hm", "start", "robin")
