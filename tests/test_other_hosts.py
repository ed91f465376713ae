"""What is said of a hive's other hosts: what their hiveds report, and what is at home where none answers."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from hivemind.cli.why_words import Copy, paragraph
from hivemind.data.records import About, Instance, Stats
from hivemind.picture.declared import AWAY, Declared, everywhere
from hivemind.picture.health import judge
from hivemind.picture.state import State
from hivemind.picture.unheard import at_home_somewhere, unheard
from hivemind.settings import load_settings
from hivemind.supervisor.actions import Request, Verb
from hivemind.supervisor.control import Answer, Hived
from hivemind.supervisor.report import Report, report_in
from hivemind.supervisor.status import ProgramStatus
from hivemind.supervisor.topology import Problem

from .hive_kit import Hive
from .test_why import known

REPORT = Report(
    ("batman.1",), ("robin.0",), (Problem("joker", "it is missing"),), (ProgramStatus("batman.1", "failing", 7),)
)


def on(host: str, name: str) -> Instance:
    return Instance(name, 1, 100.0, About(name.partition(".")[0], host, 42, 50.0, 6.0), Stats())


def test_a_report_is_read_as_it_was_written_also_of_another_version() -> None:
    assert report_in(REPORT.to_json()) == REPORT
    newer = orjson.loads(REPORT.to_json()) | {"of_later": 1}
    newer["programs"][0]["of_later"] = newer["problems"][0]["of_later"] = 1
    del newer["stopped"]
    assert report_in(orjson.dumps(newer).decode()) == Report(REPORT.instances, (), REPORT.problems, REPORT.programs)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"instances": 3}', '{"programs": [{}]}', '{"problems": [[1]]}'])
def test_what_is_no_report_is_ignored(text: str) -> None:
    assert report_in(text) is None


def test_what_does_not_run_because_its_home_is_away_is_a_trouble_and_says_where() -> None:
    should = Declared(("batman.0",), away={"beta": ("batman.1", "robin.0")}, is_supervised=True)
    health = judge("gotham", [on("alfa", "batman.0"), on("beta", "robin.0")], State(should))
    assert health.troubles == ("no hived answers on beta, the home of batman.1: `hived start` there",)


def test_what_runs_although_no_hived_answers_there_is_worth_a_word() -> None:
    should = Declared(("batman.0",), away={"beta": ("batman.1",)}, is_supervised=True)
    health = judge("gotham", [on("alfa", "batman.0"), on("beta", "batman.1")], State(should))
    assert (health.is_well, health.notes) == (
        True,
        ("no hived answers on beta: what ends there is not started again",),
    )
    assert health.sentence.startswith("gotham is well: 2 instances of 1 node run on alfa (1), beta (1); ")


def test_why_names_the_home_of_a_copy_that_does_not_run() -> None:
    away = ProgramStatus("batman.0", AWAY, detail="no hived answers on beta, its home")
    said = paragraph(known(Copy("batman.0", program=away)))
    assert said.startswith("batman.0 should run, but does not: no hived answers on beta, its home.")


@pytest.fixture
def hive(tmp_path: Path) -> Hive:
    nodes = {"batman": {"replicas": 2, "tags": ["heroes"]}, "robin": {"hosts": ["beta"]}}
    made = Hive(tmp_path, more=f'HOSTS = {{"alfa": [], "beta": []}}\nNODES = {nodes}')
    for name in nodes:
        made.node(name)
    return made


@pytest.mark.parametrize(
    ("verb", "targets", "replicas", "silent"),
    [
        (Verb.RESTART, ("robin",), 0, ["robin.0"]),
        (Verb.RESTART, ("@all",), 0, ["batman", "robin.0"]),
        (Verb.STOP, ("@heroes",), 0, ["batman"]),
        (Verb.SCALE, ("robin",), 2, ["robin.0", "robin.1"]),
        (Verb.RESTART, ("joker",), 0, []),
    ],
)
def test_a_host_that_did_not_answer_is_answered_for(
    hive: Hive, verb: Verb, targets: tuple[str, ...], replicas: int, silent: list[str]
) -> None:
    settings = load_settings(hive.folder, {})
    (batman,) = [one.name for one in everywhere(settings) if one.home == "beta" and one.node == "batman"]
    alfa = Answer(Hived("alfa", "/hive", 1), [], [], done=True)
    found = unheard(settings, Request(verb, targets, replicas), [alfa])
    told = [result for answer in found for result in answer.results]
    assert [one.program for one in told] == [batman if name == "batman" else name for name in silent]
    assert all("no hived answers on beta, its home: `hived start` there" in one.text for one in told)
    beta = Answer(Hived("beta", "/hive", 1), [], [], done=True)
    assert unheard(settings, Request(verb, targets, replicas), [alfa, beta]) == []


def test_names_of_what_is_at_home_somewhere_are_known_though_nobody_answers(hive: Hive) -> None:
    settings = load_settings(hive.folder, {})
    assert at_home_somewhere(settings, ["robin", "batman.1", "@heroes", "joker", "@jokers"]) == {
        "robin",
        "batman.1",
        "@heroes",
    }
