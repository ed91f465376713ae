"""What a drill judges by, without any process: its course, its books, its limits, what it says."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind.constants import Constants
from hivemind.data.records import About, Instance, Stats
from hivemind.drills.books import Books
from hivemind.drills.choice import FLUSH, LONG, NOT_AT, OWN, QUICK, Chosen, Where, every
from hivemind.drills.course import STEPS, Course, failed, step
from hivemind.drills.healer import Undo
from hivemind.drills.limits import Limits, promised, stretch
from hivemind.drills.report import Allowed, Report
from hivemind.drills.targets import half, meant
from hivemind.errors import SupervisorError
from hivemind.identity import ProcessIdentity
from hivemind.states import DRILL, DrillStage

ALFA, BETA, COPY = "hm-drill-alfa.0.7", "hm-drill-beta.0.8", "hm-drill-beta.1.9"
LIVES = [ALFA, BETA, COPY]


def safe(books: Books, life: str, last: int, at: float = 1.0, first: int = 1) -> None:
    books.enter(life, {"what": "safe", "first": first, "last": last, "at": at})


def comes(books: Books, kind: str, to: str, sender: str, number: int, at: float = 2.0) -> None:
    books.enter(to, {"what": kind, "who": sender, "n": number, "sent": at - 0.1, "at": at})


def report(**what: Any) -> Report:
    good = {"noticed": 0.1, "back": 1.0, "sent": 100}
    return Report("kill node", "batman", Limits(0.5, 2.0), Allowed(0, 3), **{**good, **what})


def test_a_drill_goes_from_stage_to_stage_and_is_over() -> None:
    course, passed = Course.begun(0.0), [DrillStage.STEADY]
    for second in range(1, 6):
        assert step(course, float(second), is_so=False) is course
        course = step(course, float(second), is_so=True)
        passed.append(course.stage)
    assert passed == [*STEPS, DrillStage.DRAINED]
    assert course.is_over
    assert course.after(DrillStage.INJECTED, DrillStage.BACK) == 3.0
    assert step(course, 99.0, is_so=True) is course


@pytest.mark.parametrize("stage", [*STEPS])
def test_what_does_not_come_in_time_ends_a_drill_with_the_reason(stage: DrillStage) -> None:
    course = step(Course(stage, {stage: 0.0}), STEPS[stage].within + 0.1, is_so=False)
    assert course.stage is STEPS[stage].otherwise
    assert course.is_over
    assert STEPS[stage].why in course.why


def test_a_drill_that_fails_says_why() -> None:
    course = failed(Course(DrillStage.INJECTED, {DrillStage.INJECTED: 0.0}), 1.0, "it did not happen")
    assert (course.stage, course.why) == (DrillStage.FAILED, "it did not happen")
    assert not DRILL[course.stage]


def test_what_was_safe_and_nobody_handled_is_lost() -> None:
    books = Books()
    safe(books, ALFA, 3)
    comes(books, "kept", BETA, ALFA, 1)
    comes(books, "kept", COPY, ALFA, 3)
    assert books.lost == [(ALFA, 2)]
    assert not books.is_drained([])
    comes(books, "kept", COPY, ALFA, 2)
    assert books.is_drained([])


def test_what_is_handled_twice_by_whomever_is_doubled() -> None:
    books = Books()
    for to in (BETA, COPY):
        comes(books, "kept", to, ALFA, 1)
        comes(books, "live", to, ALFA, 1)
    assert books.account(LIVES).doubled == 1
    comes(books, "live", COPY, ALFA, 1)
    assert books.account(LIVES).doubled == 2


def test_order_is_asked_of_live_messages_and_of_the_only_reader_of_a_group() -> None:
    books = Books()
    for number in (2, 1):
        comes(books, "kept", BETA, ALFA, number)
    assert books.account(LIVES).out_of_order == 0
    for number in (2, 1):
        comes(books, "kept", ALFA, BETA, number)
        comes(books, "live", COPY, ALFA, number)
    assert books.account(LIVES).out_of_order == 2


def test_live_messages_that_a_living_receiver_never_got_are_missed_and_each_drill_begins_anew() -> None:
    books = Books()
    books.enter(ALFA, {"what": "quiet", "live": 3, "at": 1.0})
    for to in (BETA, COPY):
        comes(books, "live", to, ALFA, 1)
        comes(books, "live", to, ALFA, 3)
    assert books.account([ALFA, COPY]).missed == 1
    books = books.next()
    books.enter(ALFA, {"what": "quiet", "live": 4, "at": 5.0})
    assert books.account([ALFA, COPY]).missed == 1
    comes(books, "live", COPY, ALFA, 4)
    assert books.account([ALFA, COPY]).missed == 0


def test_messages_flow_when_one_sent_since_then_has_come_on_every_way() -> None:
    books = Books()
    ways = [("live", BETA, ALFA), ("live", COPY, ALFA), ("live", ALFA, COPY), ("kept", BETA, ALFA)]
    for kind, to, sender in ways:
        comes(books, kind, to, sender, 1, at=5.0)
    assert not books.flows(4.0, LIVES)
    comes(books, "kept", ALFA, COPY, 1, at=5.0)
    assert books.flows(4.0, LIVES)
    assert not books.flows(6.0, LIVES)


def test_a_report_tells_in_a_line_what_came_of_it_and_what_was_promised() -> None:
    assert report().words == (
        "kill node batman: noticed after 0.10 s, back 1.00 s after it began; 100 messages: 0 lost, 0 doubled, "
        "0 out of order (promised: noticed within 0.5 s, back within 2 s, at most 0 lost, "
        "at most 3 doubled, 0 out of order): kept"
    )
    assert report().to_json()["kept"] is True


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"noticed": 0.6}, "noticed after 0.60 s, promised 0.5 s"),
        ({"back": None}, "back after never, promised 2 s"),
        ({"lost": 1}, "1 lost, promised at most 0"),
        ({"doubled": 4}, "4 doubled, promised at most 3"),
        ({"out_of_order": 1}, "1 out of order, promised none"),
        ({"uncounted": 2}, "2 live messages missed, and counted by nobody"),
        ({"restarted": ("robin.0",)}, "restarted without need: robin.0"),
        ({"why": "nobody noticed within 45 s"}, "nobody noticed within 45 s"),
    ],
)
def test_a_promise_that_is_not_kept_is_named(what: dict[str, Any], words: str) -> None:
    found = report(**what)
    assert found.broken == (words,)
    assert not found.kept
    assert words in found.words


def test_times_are_judged_by_how_fast_the_machine_is_and_nothing_else() -> None:
    assert stretch(0.5) == 1.0
    assert report(back=3.0, stretch=2.0).kept
    assert not report(back=3.0, lost=1, stretch=2.0).kept


def test_every_drill_has_its_limits_and_a_redis_that_others_use_is_not_hurt() -> None:
    limits = promised(Constants.model_validate({}))
    assert limits["freeze node"].noticed == 8.0
    assert limits["flush redis"].lost is None
    everything = every("batman.0", Where.OWN, is_quick=False)
    assert Chosen("kill", "batman.0") in everything
    assert Chosen("kill", "redis") in everything
    assert not {"kill", "freeze", "slow", "fill"} & {
        one.verb for one in every("batman.0", Where.OTHER, is_quick=False) if one.target == "redis"
    }


def test_a_primary_is_replaced_only_where_somebody_can_replace_it() -> None:
    moves = {at for at in Where if Chosen("failover", "redis") in every("batman.0", at, is_quick=False)}
    assert moves == {Where.SENTINEL, Where.CLUSTER}


def test_all_drills_are_all_that_harm_nobody_else() -> None:
    assert {*QUICK, *LONG, *FLUSH} >= OWN.keys() - {("fill", "disk")}


def test_what_loses_all_that_a_hive_keeps_is_done_only_where_it_is_asked_for() -> None:
    flush = Chosen("flush", "redis")
    for at, is_quick in ((at, is_quick) for at in Where for is_quick in (True, False)):
        assert flush not in every("batman.0", at, is_quick=is_quick)
        assert flush in every("batman.0", at, is_quick=is_quick, with_flush=True)
    assert all(left_out <= {*QUICK, *LONG} for left_out in NOT_AT.values())


def test_what_is_to_be_undone_is_remembered_until_it_was() -> None:
    me = ProcessIdentity.current()
    undo = Undo().told(b"garbage").told(b"[1]").told(b'{"thaw": 7}')
    assert undo == Undo()
    told: tuple[dict[str, Any], ...] = (
        {"thaw": me.to_json()},
        {"end": me.to_json()},
        {"configure": {"maxmemory": "0"}},
        {"remove": "/filler"},
    )
    for line in told:
        undo = undo.told(str(line).replace("'", '"').encode())
    assert (undo.thaw, undo.end, undo.configure, undo.remove) == ((me,), (me,), {"maxmemory": "0"}, ("/filler",))
    assert undo.told(b'{"mended": true}') == Undo(end=(me,))
    done = b'{"done": true}'
    needed = [undo.is_needed, undo.told(done).is_needed, undo.told(b'{"mended": true}').told(done).is_needed]
    assert needed == [True, True, False]  # a drill that is done may not have come so far as to mend
    assert undo.told(b'{"done": true}').is_done


def living(name: str, process: ProcessIdentity | None) -> Instance:
    return Instance(name, 1, 9e9, About(name.partition(".")[0], "cave", 7, 0.0, 6.0, process), Stats())


def test_a_target_is_a_node_a_copy_or_all_that_runs_here() -> None:
    me = ProcessIdentity.current()
    there = [living(name, me) for name in ("batman.0", "batman.1", "robin.0", "hm-drill-beta.0")]
    assert [one.instance for one in meant("batman", [], there)] == ["batman.0", "batman.1"]
    assert [one.instance for one in meant("batman.1", [], there)] == ["batman.1"]
    assert [one.instance for one in half(there)] == ["batman.0", "hm-drill-beta.0"]
    with pytest.raises(SupervisorError, match=r"nothing that runs is called penguin; what runs: batman, robin"):
        meant("penguin", [], there)
    with pytest.raises(SupervisorError, match=r"batman.0 runs on cave: type it there"):
        meant("batman", [], [living("batman.0", None)])


def test_what_cannot_be_done_to_a_target_is_told() -> None:
    with pytest.raises(SupervisorError, match="flush is not for batman, but for redis"):
        Chosen("flush", "batman").make(None)  # type: ignore[arg-type]  # it does not come so far as to need a hive
