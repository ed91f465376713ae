"""From settings and enabled nodes to programs, as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hivemind.errors import ConfigurationError
from hivemind.settings import Constants, Settings
from hivemind.supervisor.enabled import EnabledNode
from hivemind.supervisor.topology import Program, RedisProgram, Selection, node_plans, programs

BATMAN = EnabledNode("batman", "nodes.batman.batman", "/hive/nodes/batman/batman.py", 1)
ROBIN = EnabledNode("robin", "nodes.robin", "/hive/nodes/robin.py", 2)
REDIS = RedisProgram(
    ("redis-server", "/hive/var/redis/redis.conf"), Path("/hive/var/redis/redis.pid"), "unix:///r.sock"
)
EVERYTHING = Selection()
EXISTING = {"batman": "from .batman import batman", "robin": "from . import robin"}


def settings(**constants: Any) -> Settings:
    return Settings(Constants(**constants), {"NODES": "config/hive.py:9"}, Path("/hive"))


def plan(
    of: Settings,
    *enabled: EnabledNode,
    scale: dict[str, int] | None = None,
    redis: RedisProgram | None = None,
    selection: Selection = EVERYTHING,
) -> dict[str, Program]:
    nodes = node_plans(of, enabled, EXISTING, selection)
    return {each.name: each for each in programs(of, nodes, scale=scale or {}, redis=redis, selection=selection)}


def test_a_hive_is_redis_then_root_then_its_nodes() -> None:
    found = sorted(plan(settings(), BATMAN, redis=REDIS).values(), key=lambda program: program.priority)
    assert [each.name for each in found] == ["redis", "root", "batman.0"]


def test_programs_wait_for_the_embedded_redis_rather_than_start_one() -> None:
    found = plan(settings(), BATMAN, redis=REDIS)
    assert found["batman.0"].env == found["root"].env == {"HIVEMIND_REDIS_URL": "unix:///r.sock"}


def test_a_redis_elsewhere_is_not_a_program() -> None:
    assert "redis" not in plan(settings(REDIS_URL="redis://there"), BATMAN)


def test_each_replica_is_a_program_of_its_own() -> None:
    found = plan(settings(NODES={"batman": {"replicas": 3}}), BATMAN)
    assert [name for name in found if name != "root"] == ["batman.0", "batman.1", "batman.2"]
    assert found["batman.2"].command[-5:] == ("nodes.batman.batman", "--name", "batman", "--number", "2")


def test_what_was_scaled_by_hand_wins_over_the_file() -> None:
    assert "batman.1" not in plan(settings(NODES={"batman": {"replicas": 3}}), BATMAN, scale={"batman": 1})


def test_a_target_adds_a_node_from_elsewhere() -> None:
    found = plan(settings(NODES={"clock": {"target": "city.clock:Clock"}}))
    assert found["clock.0"].command[-5] == "city.clock:Clock"


def test_needed_nodes_start_before_those_that_need_them() -> None:
    found = plan(settings(NODES={"batman": {"needs": ["robin"]}}), BATMAN, ROBIN)
    assert found["robin.0"].priority < found["batman.0"].priority


def test_a_ring_of_needs_does_no_harm() -> None:
    assert (
        len(plan(settings(NODES={"batman": {"needs": ["robin"]}, "robin": {"needs": ["batman"]}}), BATMAN, ROBIN)) == 3
    )


def test_a_name_that_nothing_enables_says_what_to_uncomment() -> None:
    with pytest.raises(ConfigurationError, match=r"config/hive.py:9.*uncomment `from \. import robin`"):
        plan(settings(NODES={"robin": {"replicas": 2}}), BATMAN)


def test_a_name_that_exists_nowhere_says_how_to_make_it() -> None:
    with pytest.raises(ConfigurationError, match="hm create_node joker"):
        plan(settings(NODES={"joker": {}}), BATMAN)


def test_only_the_named_nodes_run_even_if_not_enabled() -> None:
    assert list(plan(settings(), BATMAN, selection=Selection(only=("robin",)))) == ["root", "robin.0"]


@pytest.mark.parametrize(
    ("selection", "expected"), [(Selection(root=False), ["batman.0"]), (Selection(nodes=False), ["root"])]
)
def test_root_or_nodes_may_be_left_out(selection: Selection, expected: list[str]) -> None:
    assert list(plan(settings(), BATMAN, selection=selection)) == expected


@pytest.mark.parametrize(
    ("change", "restarted"),
    [
        ({"NODES": {"batman": {"env": {"A": "1"}}}}, {"batman.0"}),
        ({"NODES": {"batman": {"replicas": 2}}}, {"batman.1"}),
        ({"HIVE_DEFAULT_PORT": 1234}, {"root"}),
        ({"HIVE_DEFAULT_HOST": "0.0.0.0"}, {"root"}),
        ({"HIVE_KEY": "another"}, {"root"}),
        ({"LOG_LEVEL": "DEBUG"}, {"root", "batman.0", "robin.0"}),
        ({"PRODUCTION": True}, {"root"}),
        ({"NODES": {"batman": {"tags": ["heroes"]}}}, set()),
    ],
)
def test_a_change_touches_only_what_it_concerns(change: dict[str, Any], restarted: set[str]) -> None:
    before, after = plan(settings(), BATMAN, ROBIN), plan(settings(**change), BATMAN, ROBIN)
    digests = {name: program.digest for name, program in before.items()}
    assert {name for name, program in after.items() if digests.get(name) != program.digest} == restarted
