"""What `hm status` makes of what hived says of its programs, beside what the registry says."""

from __future__ import annotations

from dataclasses import replace

from hivemind.data.records import About, Instance, Stats
from hivemind.picture.declared import Declared
from hivemind.picture.health import judge
from hivemind.picture.state import State
from hivemind.supervisor.status import ProgramStatus
from hivemind.supervisor.topology import Problem


def instance(*, lost: bool = False) -> Instance:
    return Instance("oven.0", 1, None if lost else 9.0, About("oven", "here", 1, 0.0, 6.0), Stats())


def hive(state: str = "running", detail: str = "", fault: str = "") -> State:
    program = ProgramStatus("oven.0", state, detail=detail, fault=fault)
    return State(Declared(("oven.0",), programs={"oven.0": program}, is_supervised=True))


def test_who_is_lost_because_it_ends_again_and_again_is_told_with_the_cause() -> None:
    found = judge("gotham", [instance(lost=True)], hive("failing", "ended with 1: SyntaxError: no"))
    assert found.troubles == ("oven.0 is failing: ended with 1: SyntaxError: no",)
    assert judge("gotham", [instance(lost=True)], hive()).troubles == ("oven.0 is lost: no beat within the lease",)


def test_who_ends_again_and_again_is_failing_also_in_the_moments_in_which_it_is_up() -> None:
    looping = hive("failing", "ended with 1 after 0.5 s, 3 times in a row: ValueError: no cape")
    found = judge("gotham", [instance()], looping)
    assert found.troubles == ("oven.0 is failing: ended with 1 after 0.5 s, 3 times in a row: ValueError: no cape",)
    assert judge("gotham", [instance()], hive()).is_well


def test_a_hive_is_not_well_while_a_node_is_kept_to_the_code_of_before() -> None:
    found = judge("gotham", [instance()], hive(fault="its handler bake of orders fails: KeyError"))
    kept = "oven.0 goes on with the code of before: its handler bake of orders fails: KeyError"
    assert found.sentence == f"gotham is not well: {kept}; mend the file and `hived reload`"


def test_who_fails_does_not_go_on_with_the_code_of_before() -> None:
    assert judge("gotham", [], hive("failing", "ended with 1", "SyntaxError: no")).troubles == (
        "oven.0 is failing: ended with 1",
    )


def test_a_rollback_is_named_where_a_node_is_quarantined() -> None:
    broken = (Problem("oven", "SyntaxError: no", "nodes/oven.py", 3),)
    found = judge("gotham", [], State(Declared(problems=broken, way_out="`hived rollback` goes back to release 2")))
    told = "oven is quarantined: nodes/oven.py:3: SyntaxError: no (`hived rollback` goes back to release 2)"
    assert found.troubles == (told,)


def test_what_a_node_says_of_itself_is_on_the_hives_line_and_ends() -> None:
    stats = Stats(state="waiting", waits_for="no\n\ngotham is well: 9 instances of 9 nodes run" + "x" * 4000)
    sentence = judge("gotham", [replace(instance(), stats=stats)], State()).sentence
    assert "\n" not in sentence
    assert len(sentence) < 600
