"""What a roll judges by, without any process: its stages, what is well, how one ledger goes on behind another."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.ledger import Ledger
from hivemind.bus.receiving import LiveSubscription
from hivemind.data.records import About, Instance, ServiceRecord, Stats, SubscriptionRecord
from hivemind.node.loaded import RELEASE
from hivemind.node.loading import code_of
from hivemind.node.relay import Relay
from hivemind.states import ROLL, RollStage, advance
from hivemind.supervisor.control import Hived, decode_answer
from hivemind.supervisor.health import cost, unwell
from hivemind.supervisor.plan import load
from hivemind.supervisor.releases import Release
from hivemind.supervisor.returning import complete, stay
from hivemind.supervisor.roll_turn import WAITS, Telling, turn
from hivemind.supervisor.rolling import held
from hivemind.supervisor.swap import Outcome
from hivemind.supervisor.writing import write

from .hive_kit import Hive
from .servers import RedisServer

UNTOUCHED = {RollStage.WAITING, RollStage.STARTING, RollStage.REFUSED}


def envelope(sequence: int, incarnation: int = 7) -> dict[str, Any]:
    return {"v": 1, "n": "robin.0", "e": incarnation, "s": sequence, "t": 1.0, "d": sequence}


def instance(**stats: Any) -> Instance:
    return Instance("batman.0", 1, 9.0, About("batman", "here", 1, 0.0, 6.0), Stats(**stats))


def subscription(handled: int, failed: int) -> SubscriptionRecord:
    return SubscriptionRecord("bat-*", "on_signal", handled=handled, failed=failed, error="KeyError: 'cape'")


@given(st.lists(st.integers(0, 9), max_size=20))
def test_whatever_happens_the_old_process_is_stopped_only_behind_a_ready_successor_or_without_one(
    choices: list[int],
) -> None:
    passed = [RollStage.WAITING]
    for choice in choices:
        if following := sorted(ROLL[passed[-1]]):
            passed.append(advance(ROLL, passed[-1], following[choice % len(following)]))
    if passed[-1] is RollStage.REFUSED:
        assert set(passed) <= UNTOUCHED
    if passed[-1] is RollStage.DONE:
        assert {RollStage.DRAINING, RollStage.TAKING, RollStage.PROVING} <= set(passed)
    if {RollStage.RETURNED, RollStage.FAILED} & set(passed):
        assert passed[-2] is RollStage.RETURNING
    assert len(passed) == len(set(passed)) <= len(RollStage)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30))
def test_a_ledger_that_goes_on_where_another_ended_has_each_message_once_and_counts_what_neither_had(
    old_end: int, new_begin: int, more: int
) -> None:
    old, new, end = Ledger(), Ledger(), max(old_end, new_begin) + more
    had = [n for n in range(1, old_end + 1) if old.admit("signal", envelope(n))]
    for sender, (incarnation, last) in old.places().items():
        new.tail(sender, incarnation, last)
    had += [n for n in range(new_begin, end + 1) if new.admit("signal", envelope(n))]
    assert had == [n for n in range(1, end + 1) if n <= old_end or n >= new_begin]
    assert new.missed == max(0, new_begin - old_end - 1)


def test_what_is_held_back_comes_later_but_not_what_has_no_number_and_came_before_the_end_of_the_old_one() -> None:
    held_back = LiveSubscription("signal")
    held_back.hold()
    ours = orjson.dumps(envelope(1))
    for body in (ours, b'"foreign"'):
        held_back.receive([[b"message", b"signal", body]], {b"signal": "signal"})
    held_back.drop_unnumbered()
    held_back.receive([[b"message", b"signal", b'"later"']], {b"signal": "signal"})
    assert len(held_back.inbox) == 0
    held_back.begin_without()
    assert [entry[1] for entry in held_back.inbox.entries()] == [1, "later"]


def test_an_instance_is_not_well_when_its_service_raises_or_its_handler_fails_most_of_the_time() -> None:
    raising = ServiceRecord("tick", "backoff", restarts=1, error="ValueError: no")
    assert unwell(None, instance(services=(raising,))) == "its service tick raises: ValueError: no"
    assert "on_signal of bat-* fails: KeyError: 'cape'" in unwell(None, instance(subscriptions=(subscription(2, 3),)))
    assert unwell(None, instance(subscriptions=(subscription(3, 3),))) == ""
    assert unwell(None, instance(state="starting")) == "it is starting"
    assert unwell(None, instance(state="waiting")) == ""


def test_what_was_wrong_before_is_not_held_against_the_new_version() -> None:
    raising, failing = ServiceRecord("tick", "backoff", restarts=2), subscription(0, 9)
    bad = instance(services=(raising,), subscriptions=(failing,))
    assert unwell(bad.stats, bad) == ""


def test_what_went_wrong_before_it_went_back_is_told() -> None:
    failing = replace(subscription(0, 9), dead=2)
    assert cost(Stats(subscriptions=(failing,))) == "handlers failed 9 times and 2 dead letters were written"
    assert cost(Stats(subscriptions=(subscription(4, 0),))) == ""
    back = Outcome(
        "batman.0", RollStage.RETURNED, "it ended", back="release 2", cost="; until then handlers failed 1 time"
    )
    assert back.text.endswith("It went back to the code of release 2; until then handlers failed 1 time")


def test_a_process_that_ends_leaves_its_places_only_to_who_is_told_to_take_over(tmp_path: Path) -> None:
    relay = Relay.at(tmp_path / "batman.0.next.pid")
    assert relay == Relay.at(tmp_path / "batman.0.pid")
    relay.say_ready()
    assert (relay.is_ready(os.getpid()), relay.is_ready(1), relay.is_followed) == (True, False, False)
    relay.go.touch()
    relay.leave([{"member": "batman", "pattern": "bat-*", "senders": {}}])
    assert relay.is_followed
    assert [each["pattern"] for each in relay.left()] == ["bat-*"]
    relay.clear()
    assert (list(tmp_path.iterdir()), relay.left()) == ([], [])


def test_who_is_sent_back_runs_the_code_of_the_release_with_the_data_of_the_hive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hive, release = tmp_path / "gotham", Release(1, "a", 0.0, tmp_path / "gotham/var/releases/1-a")
    for folder in (hive / "nodes/batman", release.files / "nodes/batman"):
        folder.mkdir(parents=True)
        (folder / "batman.py").write_text("")
    (hive / "nodes/batman/cape.json").write_text("1")
    complete(hive, release)
    assert (release.files / "nodes/batman/cape.json").read_text() == "1"
    assert not (release.files / "var").exists()
    monkeypatch.setenv(RELEASE, str(release.files))
    assert code_of(hive) == release.files
    monkeypatch.setenv(RELEASE, str(tmp_path / "gone"))
    assert code_of(hive) == hive


class Reloads:
    """Of supervisord only that it is told to read its configuration again."""

    def reload(self) -> None:
        """It takes a moment."""
        time.sleep(0.001)


def test_copies_that_go_back_side_by_side_all_go_back(tmp_path: Path) -> None:
    made = Hive(tmp_path / "gotham")
    made.node("batman")
    made.configure('NODES = {"batman": {"replicas": 4}}')
    engine = made.engine
    engine.paths.make()
    plan = engine.plan()
    write(engine, plan)
    olds = {each.name: replace(each, fault="sent back") for each in plan.programs if each.kind == "node"}
    assert len(olds) == 4
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            write(engine, plan)
            runs = [pool.submit(stay, engine, cast(Any, Reloads()), {name: old}) for name, old in olds.items()]
            for run in runs:
                run.result()
            assert {each.name for each in load(engine.paths).programs if each.fault} == olds.keys()


async def test_one_hived_of_a_hive_rolls_at_a_time_and_the_next_when_it_is_through(
    server: RedisServer, hive_name: str
) -> None:
    endpoint = Endpoint.parse(server.url)
    async with Bus(endpoint, hive_name, "here") as one, Bus(endpoint, hive_name, "there") as other:
        async with turn(one, "here"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2), turn(other, "there"):
                    pytest.fail("both roll")
        async with asyncio.timeout(20), turn(other, "there"):
            assert await one.commands.execute("GET", one.names.roll()) == b"there"


def test_it_is_told_how_far_a_roll_is_and_what_is_through() -> None:
    said: list[Mapping[str, Any]] = []
    telling = Telling(said.append, Hived("here", "/gotham", 1), ["batman.0", "batman.1"])
    telling.say()
    telling.hear(Outcome("batman.0", RollStage.DONE, ready=1.0, handed=0.2))
    telling.hear(Outcome("batman.1", RollStage.STARTING))
    answers = [decode_answer(orjson.dumps(each)) for each in said]
    assert [each.done for each in answers if each] == [False] * 3
    assert [each.doing for each in answers if each] == [
        WAITS,
        "the next one is looked at",
        "batman.1: its successor starts",
    ]
    assert [each.results[0].text for each in answers if each and each.results] == [
        "rolled: successor ready in 1.0 s, took over in 0.2 s; 0 missed, 0 dropped"
    ] * 2


def test_who_was_held_back_is_told_because_of_whom() -> None:
    assert held("batman.0") == "not touched, because batman.0 is not well with the new version"
