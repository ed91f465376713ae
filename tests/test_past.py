"""The last hour: what is made of two snapshots, what is kept of it, by how many roots, and what strangers write."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.bus import Bus
from hivemind.data.records import Instance, Stats, SubscriptionRecord
from hivemind.picture.chronicle import Chronicle
from hivemind.picture.declared import Declared
from hivemind.picture.health import judge
from hivemind.picture.monitor import History
from hivemind.picture.past import HOUR, MOST, Event, Past, Step, What, step_from
from hivemind.picture.recorder import Recorder, changes, figures, losses
from hivemind.picture.snapshot import Snapshot, nodes_of
from hivemind.picture.state import State
from hivemind.supervisor import wishes
from hivemind.supervisor.actions import Verb
from hivemind.supervisor.status import ProgramStatus

from .bus_kit import on_bus
from .root_kit import FakeSource, instance, running
from .servers import RedisServer
from .waiting import eventually

NOW = 1_795_000_000.0
DIED = "died of SIGKILL after 3 s"


def seen(*instances: Instance, at: float = NOW, state: State | None = None) -> Snapshot:
    return Snapshot("gotham", "", at, nodes=nodes_of(History().follow(list(instances))), state=state or State())


def ended(name: str, why: str, at: float, stopped: tuple[str, ...] = ()) -> State:
    return State(Declared(programs={name: ProgramStatus(name, "running", last_end=why, ended=at)}, stopped=stopped))


def told(before: Snapshot, after: Snapshot) -> list[tuple[str, str, str]]:
    return [(one.what.value, one.who, one.why) for one in changes(before, after)]


# -- what happened between two snapshots


def test_who_comes_leaves_is_lost_and_comes_again_is_told() -> None:
    before = seen(instance("a.0"), instance("b.0"), instance("c.0"), instance("d.0", beat=None))
    after = seen(
        instance("a.0", incarnation=2), instance("b.0", beat=None), instance("d.0", beat=None), instance("e.0")
    )
    assert told(before, after) == [("again", "a.0", ""), ("lost", "b.0", ""), ("came", "e.0", ""), ("left", "c.0", "")]


def test_why_is_what_hived_knows_of_the_end_if_that_is_the_one() -> None:
    before, gone = seen(instance("a.0")), instance("a.0", beat=None)
    why = "died of SIGKILL after 2 min 3 s"
    assert told(before, seen(gone, state=ended("a.0", why, NOW - 2))) == [("lost", "a.0", why)]
    assert told(before, seen(gone, state=ended("a.0", why, NOW - 300))) == [("lost", "a.0", "")]
    again = seen(instance("a.0", incarnation=2), state=ended("a.0", why, NOW - 2))
    assert told(before, again) == [("again", "a.0", f"the life before {why}")]
    assert told(before, seen(state=ended("a.0", "", 0.0, ("a.0",)))) == [("left", "a.0", "stopped by `hm stop`")]


@pytest.mark.parametrize(
    ("by", "why"),
    [
        ("alfred (process 7)", "restarted by `hm restart` of alfred (process 7)"),
        ("operator, on the page", "restarted by operator, on the page"),
        ("", "restarted"),
    ],
)
def test_who_was_restarted_because_somebody_asked_is_told_with_who(tmp_path: Path, by: str, why: str) -> None:
    wishes.note(tmp_path / "wishes", ["a"], wishes.asked_for(Verb.RESTART, by))
    ((text, _),) = wishes.wishes(tmp_path / "wishes").values()
    assert text == why

    def asked(state: State, ago: float = 2.0) -> State:
        return replace(state, should=replace(state.should, wishes={"a": (text, NOW - ago)}))

    one = seen(instance("a.0"))
    calm = ended("a.0", "ended with 0 after 9 s", NOW - 1)
    assert told(one, seen(state=asked(calm))) == [("left", "a.0", why)]
    assert told(seen(), seen(instance("a.0"), state=asked(State()))) == [("came", "a.0", why)]
    assert told(one, seen(instance("a.0", incarnation=2), state=asked(calm))) == [("again", "a.0", why)]
    fell = asked(ended("a.0", DIED, NOW - 1))  # just after that: it is not what was asked for
    assert told(one, seen(instance("a.0", incarnation=2), state=fell)) == [("again", "a.0", f"the life before {DIED}")]
    assert told(one, seen(state=asked(State(), 100.0))) == [("left", "a.0", "")]
    assert told(one, seen(instance("a.0", beat=None), state=asked(State()))) == [("lost", "a.0", "")]


def test_wishes_that_are_none_are_no_wishes(tmp_path: Path) -> None:
    for spoilt in (b"", b"[]", b'{"a": 1}', b'{"a": ["x", "y"]}', b'{"a": ["x"]}'):
        (tmp_path / "wishes").write_bytes(spoilt)
        assert wishes.wishes(tmp_path / "wishes") == {}
    wishes.now(tmp_path / "wishes", ["a"])
    assert wishes.wishes(tmp_path / "wishes") == {}


def test_what_was_asked_of_a_node_explains_its_copies_though_one_was_asked_something_before() -> None:
    asked = {"a.1": ("started by `hm start`", NOW - 300), "a": ("scaled by `hm scale`", NOW - 1)}
    state = State(Declared(wishes=asked))
    assert told(seen(instance("a.1")), seen(state=state)) == [("left", "a.1", "scaled by `hm scale`")]


def test_who_stopped_what_is_remembered_for_long_and_until_something_else_is_asked(tmp_path: Path) -> None:
    file, text = tmp_path / "wishes", wishes.asked_for("stop", "operator, on the page")
    wishes.note(file, ["a.0"], text)
    file.write_bytes(orjson.dumps({"a.0": (text, time.time() - 86_400), "b.0": ("rolled", time.time() - 86_400)}))
    known = wishes.wishes(file)
    assert ([*known], wishes.who_stopped(known, "a.0")) == (["a.0"], "by operator, on the page")
    clauses = judge("gotham", [], State(Declared(stopped=("a.0", "c.0"), wishes=known))).notes
    assert clauses[:2] == ("a.0 is stopped by operator, on the page", "c.0 is stopped by `hm stop`")
    wishes.note(file, ["a"], wishes.asked_for("stop", "alfred (process 7)"))
    assert wishes.who_stopped(wishes.wishes(file), "a.0") == "by `hm stop`"


def test_that_redis_was_silent_is_told_when_it_answers_again() -> None:
    assert told(replace(seen(), silent_since=NOW - 12), seen()) == [("silent", "Redis", "did not answer for 12 s")]


def test_that_another_redis_answers_is_told_with_how_the_one_before_ended() -> None:
    died = ended("redis", DIED, NOW - 2)
    before = seen(state=State(redis="one"))
    assert told(before, seen(state=replace(died, redis="two"))) == [("anew", "Redis", "the life before " + DIED)]
    assert told(before, seen(state=State(redis="two"))) == [("anew", "Redis", "")]
    assert not told(before, seen(state=State(redis="one")))
    assert not told(before, seen(state=State()))  # it did not say


def test_losses_are_counted_from_one_snapshot_to_the_next_and_anew_with_each_life() -> None:
    def loses(missed: int, incarnation: int = 1) -> Instance:
        one = SubscriptionRecord("t", missed=missed, dropped=1)
        return replace(instance("a.0", stats=Stats(subscriptions=(one,))), incarnation=incarnation)

    assert losses(seen(loses(4)), seen(loses(9))) == 5
    assert losses(seen(loses(9)), seen(loses(2, incarnation=2))) == 3


def test_a_step_has_the_figures_of_its_last_snapshot_and_all_events_of_it() -> None:
    recorder, at = Recorder(), NOW // 5 * 5
    first, second, third = (
        seen(*[instance(f"a.{each}") for each in range(count)], instance("root.0"), at=at + when)
        for count, when in ((1, 1), (3, 3), (4, 6))
    )
    assert [one.instances for one in recorder.follow(Snapshot("gotham", ""), first).steps] == [1]
    past = recorder.follow(first, second)
    assert [(one.at, one.instances, len(one.events)) for one in past.steps] == [(at, 3, 2)]
    assert recorder.take() == []
    past = recorder.follow(second, third)
    assert [(one.at, one.instances, len(one.events)) for one in past.steps] == [(at, 3, 2), (at + 5, 4, 1)]
    assert recorder.take() == [past.steps[0]]
    assert recorder.take() == []


def test_a_step_says_what_was_not_well_then() -> None:
    one = figures(seen(instance("a.0"), instance("b.0", beat=None)), NOW)
    assert (one.level, one.troubles) == ("trouble", ("b.0 is lost: no beat within the lease",))


def test_no_step_says_that_nothing_was_sent_while_no_rate_is_known_yet() -> None:
    recorder, at = Recorder(), NOW // 5 * 5
    views = History()
    first, second = (
        Snapshot(
            "gotham", "", at + each, nodes=nodes_of(views.follow([instance("a.0", beat=at + each, sent={"x": 5})]))
        )
        for each in (0, 2)
    )
    assert recorder.follow(Snapshot("gotham", ""), first).steps == ()
    assert [one.instances for one in recorder.follow(first, second).steps] == [1]


def test_the_reason_may_come_a_moment_after_the_event() -> None:
    recorder, at = Recorder(), NOW // 5 * 5
    alive, lost = seen(instance("a.0"), at=at), seen(instance("a.0", beat=None), at=at + 1)
    recorder.follow(alive, lost)
    known = replace(lost, read_at=at + 2, state=ended("a.0", "died of SIGSEGV after 3 s", at + 0.5))
    (event,) = recorder.follow(lost, known).events
    assert (event.what, event.why) == (What.LOST, "died of SIGSEGV after 3 s")


def test_what_another_root_wrote_counts_and_what_it_did_not_see_is_told_in_the_next_step() -> None:
    recorder, at = Recorder(), NOW // 5 * 5
    before, after = seen(at=at), seen(instance("a.0"), instance("b.0"), at=at + 4)
    recorder.follow(before, after)
    recorder.follow(after, replace(after, read_at=at + 5))
    theirs = Step(at, sent=7.0, events=(Event(at + 4.2, What.CAME, "a.0", 1),))
    recorder.follow(after, replace(after, read_at=at + 6), [theirs])
    past = recorder.follow(after, replace(after, read_at=at + 10))
    assert [one.sent for one in past.steps] == [7.0, 0.0, 0.0]
    assert [(one.who, one.at) for one in past.events] == [("b.0", at + 4), ("a.0", at + 4.2)]


# -- what is remembered


def test_an_hour_is_remembered_and_nothing_of_the_future() -> None:
    past = Past().joined([Step(NOW + each) for each in (-HOUR - 1, -HOUR + 1, 0, 5)], NOW)
    assert [one.at for one in past.steps] == [NOW - HOUR + 1, NOW]


def test_what_two_roots_told_of_is_there_once_and_two_deaths_are_two() -> None:
    steps = [
        Step(NOW + at, events=(Event(NOW + at, What.LOST, "a.0", life),)) for at, life in ((0, 1), (5, 1), (10, 2))
    ]
    assert [one.life for one in Past(tuple(steps)).events] == [1, 2]


def test_a_step_that_was_written_is_read_as_it_was() -> None:
    event = Event(NOW + 0.25, What.AGAIN, "a.0", 17, "the life before ended with 1")
    one = Step(NOW, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, "trouble", (event,), ("a.0 is lost",), ("b.0 waits",))
    assert step_from(one.raw, NOW) == one


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text() | st.sampled_from(["sent"]), inner),
)


@given(st.binary() | JSON.filter(lambda one: "\\ud" not in repr(one)).map(lambda one: repr(one).encode()))
def test_garbage_is_no_step(raw: bytes) -> None:
    found = step_from(raw, NOW)
    assert found is None or isinstance(found, Step)


@pytest.mark.parametrize("odd", [-1, "7", None, True, [], 1e300])
def test_a_figure_that_is_none_is_0_and_a_great_one_has_an_end(odd: object) -> None:
    found = step_from(orjson.dumps({"sent": odd, "level": odd, "events": odd}), NOW)
    assert found is not None
    assert (found.sent, found.level, found.events) == (1e15 if odd == 1e300 else 0.0, "unknown", ())


@pytest.mark.parametrize(
    "odd",
    [
        [NOW, "came", "<b>.0", 1, ""],
        [NOW, "came", "a.0", 1],
        [NOW, "burns", "a.0", 1, ""],
        [NOW + 2 * HOUR, "came", "a.0", 1, ""],
        ["x", "came", "a.0", 1, ""],
        {"at": NOW},
    ],
)
def test_an_event_that_is_none_is_left_out(odd: object) -> None:
    sound = [NOW, "came", "a.0", 1, "x" * 9000]
    found = step_from(orjson.dumps({"events": [odd, sound, *[sound] * 2 * MOST]}), NOW)
    assert found is not None
    assert {(one.who, len(one.why)) for one in found.events} == {("a.0", 300)}
    assert len(found.events) == MOST - 1


# -- in Redis


async def test_several_roots_write_each_step_once_and_one_that_begins_later_reads_them(
    server: RedisServer, hive_name: str
) -> None:
    now = [NOW]
    async with on_bus(server.url, hive=hive_name) as bus:
        one, other, late = (Chronicle(bus.commands, bus.names, lambda: now[0]) for _ in range(3))
        assert await one.keep([Step(NOW - 5, sent=1.0)]) == [Step(NOW - 5, sent=1.0)]
        assert await other.keep([Step(NOW - 5, sent=2.0), Step(NOW, sent=3.0)]) == [
            Step(NOW - 5, sent=1.0),
            Step(NOW, sent=3.0),
        ]
        now[0] += 5
        assert await one.keep([]) == [Step(NOW, sent=3.0)]
        assert [step.sent for step in await late.keep([])] == [1.0, 3.0]
        assert 3000 < await bus.commands.execute("TTL", bus.names.past()) <= 3600


async def test_no_more_than_an_hour_is_kept(server: RedisServer, hive_name: str) -> None:
    now = [NOW]
    async with on_bus(server.url, hive=hive_name) as bus:
        chronicle = Chronicle(bus.commands, bus.names, lambda: now[0])
        for at in range(1000):
            now[0] = NOW + 5 * at
            await chronicle.keep([Step(now[0])])
        assert 720 <= await bus.commands.execute("XLEN", bus.names.past()) <= 820
        assert len(await Chronicle(bus.commands, bus.names, lambda: now[0]).keep([])) in (720, 721)


async def spoilt(bus: Bus, *command: str) -> list[Step]:
    await bus.commands.execute(*command)
    return await Chronicle(bus.commands, bus.names, lambda: NOW).keep([Step(NOW)])


async def test_what_strangers_wrote_there_hinders_nobody(server: RedisServer, hive_name: str) -> None:
    async with on_bus(server.url, hive=hive_name) as bus:
        key = bus.names.past()
        assert await spoilt(bus, "SET", key, "x") == []
        assert await bus.commands.execute("TTL", key) > 0  # it ends by itself
        await bus.commands.execute("DEL", key)
        assert await spoilt(bus, "XADD", key, f"{int(NOW - 10) * 1000}-7", "b", "{", "c", "x") == [Step(NOW)]
        await bus.commands.execute("DEL", key)
        assert await spoilt(bus, "XADD", key, "9999999999999-0", "b", "{}") == []
        assert await bus.commands.execute("TTL", key) > 0


def test_the_page_has_the_past_as_json() -> None:
    source = FakeSource([instance("batman.0")])
    with running(source) as page:
        eventually(lambda: page.monitor.snapshot.past.steps)
        source.listed.append(instance("joker.0"))
        page.refresh()
        eventually(lambda: page.monitor.snapshot.past.events)
        found = orjson.loads(page.get("/api/past")[2])
    assert found["step"] == 5.0
    assert found["steps"][-1]["instances"] == 2
    assert [(one["what"], one["who"]) for one in found["events"]] == [("came", "joker.0")]


def test_the_figures_are_sums_over_who_lives() -> None:
    views = History()
    views.follow([instance("a.0", beat=100.0, sent={"x": 10}, received={"y": 3})])
    nodes = nodes_of(
        views.follow([instance("a.0", beat=110.0, sent={"x": 60}, received={"y": 3}), instance("b.0", beat=None)])
    )
    step = figures(Snapshot("gotham", "", NOW, nodes=nodes), NOW)
    assert (step.sent, step.received, step.instances, step.level) == (5.0, 0.0, 1.0, "trouble")
