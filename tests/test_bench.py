"""The benchmarks: what counts as handled, when a mark is met, what is written; and one row for real."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks import pages, report
from benchmarks.bench import Bench, Case, Lost, finish
from benchmarks.marks import Mark, at_least, at_most
from benchmarks.processes import NODES, Crashed, Processes
from benchmarks.rounds import Outcome, run, short, turned
from benchmarks.rows import QUICK, ROWS, Row
from benchmarks.task import Task
from benchmarks.window import BATCH, MOST_SAMPLES, SETTLED, Sender, Window

from .waiting import eventually

HERE = Path(__file__).resolve().parent.parent
SOURCES = sorted((HERE / "benchmarks").rglob("*.py"))


@pytest.fixture
def window(tmp_path: Path) -> Window:
    return Window.create(tmp_path / "window", readers=2, limit=300)


def begun(window: Window) -> Sender:
    """A sender whose subscribers have heard three hellos each."""
    sender = Sender(window, list, BATCH, 0.0)
    assert sender.payloads() == [0]
    window.handled[0] = window.handled[1] = 3
    for _ in range(SETTLED + 2):
        assert sender.payloads() == []
    assert window.has_begun
    return sender


def test_a_sender_says_hello_until_everybody_has_heard_it(window: Window) -> None:
    sender = Sender(window, list, BATCH, 0.0)
    window.handled[0] = 1
    assert [sender.payloads() for _ in range(10)] == [[0]] * 10
    assert not window.has_begun


def test_hellos_are_not_counted(window: Window) -> None:
    begun(window)
    assert window.counts() == [0, 0]
    assert window.sent == 0


def test_no_more_than_the_limit_is_on_its_way_to_the_slowest(window: Window) -> None:
    sender = begun(window)
    assert [len(sender.payloads()) for _ in range(3)] == [BATCH, 300 - BATCH, 0]
    window.handled[0] += 300
    assert sender.payloads() == []
    window.handled[1] += 10
    assert sender.payloads() == list(range(300, 310))


def test_processes_share_a_window(window: Window, tmp_path: Path) -> None:
    other = Window(tmp_path / "window")
    other.handled[1] = 7
    other.sample(5)
    other.end()
    assert (window.handled[1], window.samples(), window.is_over, other.limit) == (7, [5], True, 300)


def test_of_many_samples_the_last_ones_are_kept(window: Window) -> None:
    for value in range(MOST_SAMPLES + 10):
        window.sample(value)
    assert window.samples(MOST_SAMPLES) == list(range(MOST_SAMPLES, MOST_SAMPLES + 10))
    assert window.samples() == list(range(10, MOST_SAMPLES + 10))


def test_a_rate_with_a_lost_message_does_not_count(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.bench.STANDSTILL", 0.05)
    begun(window)
    window.sent = 10
    window.handled[0], window.handled[1] = 3 + 10, 3 + 9
    with pytest.raises(Lost, match="1 of 20 messages"):
        finish(window)


def test_a_task_reaches_a_process_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task("unix:///s", "/w", "clock", slot=3, count=9)
    for name, value in task.environment().items():
        monkeypatch.setenv(name, value)
    assert Task.here() == task


ROUNDS = [{"a": 10.0, "b": 2.0}, {"a": 30.0, "b": 3.0}, {"a": 8.0, "b": 4.0}]


def test_a_ratio_is_taken_within_a_round() -> None:
    assert at_least("a", 5, of="b").value(ROUNDS) == 5.0
    assert at_least("a", 5, of="b").is_met(ROUNDS)
    assert not at_most("a", 9.9).is_met(ROUNDS)


FAILURES = [Lost("all of them"), AssertionError("no"), ZeroDivisionError("no"), psutil.NoSuchProcess(1)]


def failing(error: Exception) -> Case:
    def measure(bench: Bench) -> dict[str, float]:
        raise error

    return Case(measure, ("b",))


CASES = {"a": Case(lambda _: {"a": 2.0}, ("a",)), "b": failing(Lost("all of them"))}
ROW = Row("row", "A row", "s", CASES, (at_most("a", 1),), quick=("a",))
AWAY = replace(CASES["b"], is_here=False)


def of(row: Row, rounds: int = 1) -> Outcome:
    outcome = Outcome(row)
    run(outcome, Bench(), rounds, lambda text: None)
    return outcome


@pytest.mark.parametrize("wanted", [at_least("nobody", 1), at_least("a", 1, of="nobody"), at_least("b", 1)])
def test_a_mark_that_was_not_measured_is_missed(wanted: Mark) -> None:
    ((_, value, is_met),) = of(replace(ROW, marks=(wanted,))).verdicts()
    assert (value, is_met) == (None, False)


def test_a_mark_whose_case_was_left_out_is_neither_met_nor_missed() -> None:
    outcome = of(replace(ROW, cases=CASES | {"b": AWAY}, marks=(at_least("a", 1, of="b"),)))
    ((_, value, is_met),) = outcome.verdicts()
    assert (value, is_met, outcome.is_wanting) == (None, None, False)


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_every_mark_is_about_readings_that_there_are(row: Row) -> None:
    labels = {label for case in row.cases.values() for label in case.labels}
    assert {label for mark in row.marks for label in mark.labels} <= labels


def test_a_case_gives_the_readings_that_it_promises() -> None:
    assert of(replace(ROW, cases={"a": replace(CASES["a"], labels=("other",))})).faults == [
        "a: Lost: it gave a, and not other"
    ]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_case_that_fails_is_named_and_the_others_go_on(error: Exception) -> None:
    outcome = of(replace(ROW, cases=CASES | {"b": failing(error)}), 2)
    assert outcome.values("a") == [2.0, 2.0]
    assert outcome.faults == [f"b: {type(error).__name__}: {error}"] * 2
    assert outcome.is_wanting


def test_each_round_begins_with_another_case() -> None:
    assert [list(turned(("a", "b", "c"), number)) for number in range(2)] == [["a", "b", "c"], ["b", "c", "a"]]


def test_the_outcome_is_told_in_three_ways() -> None:
    outcome = Outcome(ROW, rounds=[{"a": 2.0}, {"a": 4.0}])
    assert "a  3 s             2 … 4" in report.as_text([outcome])
    page = report.as_markdown({"measured on": "2026-11-22", "cpu": "x"}, outcome)
    assert page.startswith("| A row | median, or ratio |")
    assert page.endswith("| a | 3 s | 2 … 4 |\n| a | **3** | ≤ 1: NO |\n\nMeasured on 2026-11-22; cpu x.")
    told = json.loads(report.as_json({"cpu": "x"}, [outcome]))
    assert told["rows"]["row"]["marks"][0] == {"what": "a", "bound": "≤", "wanted": 1, "value": 3.0, "met": False}


def test_numbers_are_short() -> None:
    assert [short(value) for value in (412_345.6, 99.94, 0.0123)] == ["412,346", "99.9", "0.0123"]


def test_only_the_measured_parts_of_a_page_are_rewritten() -> None:
    text = "before\n<!-- measured: x -->\nold\n<!-- measured -->\nafter <!-- measured: y -->\n"
    assert pages.rewritten(text, {"x": "new"}) == text.replace("old", "\nnew\n")
    assert pages.rewritten(text, {"z": "new"}) == text


@pytest.mark.parametrize(("page", "part"), [*(("performance", key) for key in ROWS), ("cost", "cost")])
def test_every_measured_part_has_its_page(page: str, part: str) -> None:
    text = (HERE / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert f"<!-- measured: {part} -->" in text


def test_a_quick_run_has_cases_that_there_are() -> None:
    for row in ROWS.values():
        assert set(row.quick) <= set(row.cases)
    assert "rate" in QUICK


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(HERE)))
def test_a_file_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 250


def test_node_files_use_public_names_only() -> None:
    for path in NODES.glob("*.py"):
        assert "from hivemind." not in path.read_text(encoding="utf-8")


def test_a_process_that_ends_by_itself_is_named(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start([sys.executable, "-c", "raise SystemExit('no luck')"], Task("", ""))
        with pytest.raises(Crashed, match="no luck"):
            processes.wait_until("never", lambda: False, 10)


@pytest.mark.slow
def test_a_brief_look_is_not_written_into_the_documentation() -> None:
    process = bench("--write-docs", stderr=subprocess.STDOUT)
    said, _ = process.communicate(timeout=30)
    assert (process.returncode, "too briefly" in said) == (2, True)


def bench(*arguments: str, stderr: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks", "--quick", *arguments]
    return subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=stderr, text=True)


def three_or_more(children: list[psutil.Process]) -> list[psutil.Process]:
    """A server, a subscriber and a publisher."""
    return children if len(children) >= 3 else []


@pytest.mark.alone
@pytest.mark.slow
def test_a_row_is_measured(tmp_path: Path) -> None:
    process = bench("--rows", "rate", "--json", str(tmp_path / "found.json"))
    said, _ = process.communicate(timeout=100)
    found = json.loads((tmp_path / "found.json").read_text())["rows"]["rate"]
    assert found["faults"] == [], said
    assert set(found["median"]) == set(ROWS["rate"].quick)
    assert min(found["median"].values()) > 1000


@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing_behind() -> None:
    process = bench("--rows", "rate")
    try:
        known = psutil.Process(process.pid)
        children = eventually(lambda: three_or_more(known.children(recursive=True)), 30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
        eventually(lambda: not any(child.is_running() for child in children), 10)
    finally:
        process.kill()
        process.wait()
