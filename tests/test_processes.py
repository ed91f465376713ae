"""Which nodes share a process, and what they have to agree on, as data."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind.errors import ConfigurationError
from hivemind.supervisor.enabled import EnabledNode
from hivemind.supervisor.topology import Selection

from .test_topology import BATMAN, ROBIN, plan, settings

JOKER = EnabledNode("joker", "nodes.joker", "/hive/nodes/joker.py", 3)
SMALL = {"process": "small"}
BOTH: dict[str, Any] = {"batman": SMALL, "robin": SMALL}


def test_nodes_that_name_the_same_process_are_one_program() -> None:
    found = plan(settings(NODES=BOTH), BATMAN, ROBIN, JOKER)
    assert list(found) == ["root", "joker.0", "small.0"]
    assert found["small.0"].command[3:] == (
        *("batman=nodes.batman.batman", "robin=nodes.robin", "--name", "small", "--number", "0"),
    )
    assert found["small.0"].sharing == ("batman", "robin")
    assert found["joker.0"].sharing == ()


def test_a_process_of_one_node_keeps_its_name() -> None:
    assert list(plan(settings(NODES={"batman": SMALL}), BATMAN)) == ["root", "small.0"]


def test_a_process_is_copied_and_scaled_as_a_whole() -> None:
    twice = {"process": "small", "replicas": 2}
    of = settings(NODES={"batman": twice, "robin": twice})
    assert list(plan(of, BATMAN, ROBIN)) == ["root", "small.0", "small.1"]
    assert list(plan(of, BATMAN, ROBIN, scale={"small": 1, "batman": 5})) == ["root", "small.0"]


def test_a_process_has_what_its_members_set_need_and_are_called() -> None:
    nodes = {
        "batman": {"process": "small", "env": {"CAPE": "black"}, "tags": ["heroes"], "needs": ["joker"]},
        "robin": {"process": "small", "env": {"MASK": "green"}, "tags": ["heroes", "young"], "needs": ["batman"]},
    }
    found = plan(settings(NODES=nodes), BATMAN, ROBIN, JOKER)
    assert found["small.0"].env == {"CAPE": "black", "MASK": "green"}
    assert found["small.0"].tags == ("heroes", "young")
    assert found["joker.0"].priority < found["small.0"].priority


@pytest.mark.parametrize("needs", ["batman", "small"])
def test_who_needs_a_member_or_the_process_starts_after_it(needs: str) -> None:
    found = plan(settings(NODES=BOTH | {"joker": {"needs": [needs]}}), BATMAN, ROBIN, JOKER)
    assert found["small.0"].priority < found["joker.0"].priority


@pytest.mark.parametrize(
    ("batman", "robin", "said"),
    [
        ({"replicas": 2}, {}, "batman and robin share the process small: replicas is 2 for batman and 1 for robin"),
        ({}, {"restart": "never"}, "restart is 'always' for batman and 'never' for robin; write the same for both"),
        ({"env": {"A": "1"}}, {"env": {"A": "2"}}, "both set A in env, to different values"),
    ],
)
def test_members_that_contradict_each_other_are_an_error_that_names_both(
    batman: dict[str, Any], robin: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        plan(settings(NODES={"batman": SMALL | batman, "robin": SMALL | robin}), BATMAN, ROBIN)


@pytest.mark.parametrize("nodes", [(BATMAN, ROBIN), (ROBIN, BATMAN)])
def test_a_process_called_like_a_node_is_found_in_any_order(nodes: tuple[EnabledNode, EnabledNode]) -> None:
    with pytest.raises(ConfigurationError, match="the process of robin is called batman, but so is a node"):
        plan(settings(NODES={"robin": {"process": "batman"}}), *nodes)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("robin", "config/hive.py:9: the process of batman is called robin, but so is a node: rename it"),
        ("root", "called root, but so is a program of hived's own"),
    ],
)
def test_a_process_has_a_name_of_its_own(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        plan(settings(NODES={"batman": {"process": name}}), BATMAN, ROBIN)


def test_a_process_has_a_name_that_can_be_one() -> None:
    with pytest.raises(ValueError, match="9lives"):
        settings(NODES={"batman": {"process": "9lives"}})


@pytest.mark.parametrize(("only", "targets"), [("small", 2), ("batman", 1)])
def test_a_process_or_a_member_alone_may_be_chosen(only: str, targets: int) -> None:
    found = plan(settings(NODES=BOTH), BATMAN, ROBIN, JOKER, selection=Selection(only=(only,), root=False))
    assert list(found) == ["small.0"]
    assert len(found["small.0"].members) == targets


def test_a_member_more_or_less_restarts_only_its_process() -> None:
    before, after = plan(settings(NODES=BOTH), BATMAN, ROBIN, JOKER), plan(settings(NODES=BOTH), BATMAN, ROBIN)
    assert before["small.0"].digest == after["small.0"].digest
    moved = plan(settings(NODES=BOTH | {"joker": SMALL}), BATMAN, ROBIN, JOKER)
    assert moved["small.0"].digest != before["small.0"].digest
    assert moved["root"].digest == before["root"].digest
