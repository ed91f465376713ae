"""A node that ends early is started again at once, then less and less often, also while hived is dead."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hivemind.bus.embedded import Embedded
from hivemind.bus.server_program import ask
from hivemind.supervisor.lives import Lives, read_lives
from hivemind.supervisor.plan import load
from hivemind.topics import Names

from .hive_kit import QUIET, Hive, hive_in, kill, well
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)

FAILS = f"""
import ctypes, os, pathlib, time
{QUIET}
if "HIVEMIND_SUPERVISED" in os.environ and not pathlib.Path("cave").exists():
    with open("{{topic}}-began", "a") as file:
        print(time.time(), file=file)
    ctypes.string_at(0)
"""


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    """A hive whose batman dies as soon as it begins, and whose robin is well."""
    with hive_in(tmp_path_factory.mktemp("failing") / "gotham") as made:
        made.node("batman", FAILS)
        made.node("robin")
        made.start()
        yield made


def lives(hive: Hive, name: str = "batman.0") -> Lives:
    return read_lives(hive.engine.paths, name)


def begun(hive: Hive) -> int:
    """How often batman has begun."""
    return len((hive.folder / "batman-began").read_text().splitlines())


def waits(hive: Hive) -> bool:
    """Whether batman waits for its next try, for a while yet."""
    found = lives(hive)
    return found.next is not None and found.next - time.time() > 1.0


def test_status_and_why_say_of_what_it_died_and_when_it_is_tried_again(failing: Hive) -> None:
    eventually(lambda: lives(failing).failures >= 3 and waits(failing), within=40)
    found = failing.program("batman.0")
    assert (found.state, found.pid, found.failures >= 3) == ("failing", None, True)
    assert "died of SIGSEGV after" in found.detail
    assert "next try in" in found.detail
    assert found.next_try is not None
    paragraph = (
        r"batman\.0 is failing: it has ended \d+ times in a row, \d+ s ago for the last time: it died of SIGSEGV after "
        r"[\d.]+ s, of Segmentation fault at nodes/batman/batman\.py:\d+; next try in \d+ s\. "
        r"batman is enabled by nodes/__init__\.py:1\.\n"
    )
    eventually(
        lambda: re.match(paragraph, failing.run("hm", "why", "batman").stdout), within=70
    )  # it may be trying now
    (last,) = json.loads(failing.run("hm", "why", "batman", "--json").stdout)["lives"].values()
    assert (last["last"]["signal"], last["failures"] >= 3) == ("SIGSEGV", True)
    assert failing.program("robin.0").state == "running"


def test_each_end_is_one_line_in_hiveds_log(failing: Hive) -> None:
    eventually(lambda: lives(failing).failures >= 3 and waits(failing), within=40)
    eventually(lambda: f"{lives(failing).failures} times in a row" in failing.log("hived"), within=10)
    assert failing.log("hived").count("batman.0") <= begun(failing)


def test_it_is_tried_again_while_hived_is_dead(failing: Hive) -> None:
    def begins_while_it_stands_still() -> bool:
        for listener in failing.processes("supervisor.daemon"):  # supervisord replaces one that does, after a while
            kill(listener, signal.SIGSTOP)
        return begun(failing) > before

    before = begun(failing)
    try:
        eventually(begins_while_it_stands_still, within=70)
    finally:
        for listener in failing.processes("supervisor.daemon"):
            kill(listener, signal.SIGCONT)


def test_who_starts_it_by_hand_does_not_wait(failing: Hive) -> None:
    eventually(lambda: lives(failing).failures >= 3 and waits(failing), within=70)
    failing.write("cave", "")
    assert "batman.0: started" in failing.run("hm", "start", "batman").stdout
    eventually(lambda: well(failing), within=20)
    assert lives(failing).failures == 0
    assert failing.run("hived", "stop").returncode == 0
    assert list((failing.folder / "var/run").glob("*.lives")) == []


def incarnation(hive: Hive, instance: str) -> str | None:
    redis = Embedded.of(hive.engine.settings).socket
    return ask(redis, "HGET", Names("gotham").node(instance), "incarnation", timeout=1.0)


def seconds_until_registered(hive: Hive, instance: str, before: str | None) -> float:
    began = time.monotonic()
    eventually(lambda: incarnation(hive, instance) not in (None, "$-1", before), within=30)
    return time.monotonic() - began


def bare_start(hive: Hive, number: int) -> float:
    """Seconds that a node takes until it is registered, without anything of hived's."""
    program = load(hive.engine.paths).program("batman.0")
    assert program is not None
    at = program.command.index("--number") + 1
    command = [*program.command[:at], str(number), *program.command[at + 1 :]]
    environ = {**hive.environ, "HIVEMIND_HIVE": str(hive.folder)}
    before = incarnation(hive, f"batman.{number}")
    said = hive.folder / "bare.txt"
    with said.open("w") as file:
        process = subprocess.Popen(command, cwd=hive.folder, env=environ, stderr=file)
    try:
        return seconds_until_registered(hive, f"batman.{number}", before)
    except AssertionError as error:
        raise AssertionError(f"{error}; exit code {process.poll()}, before {before}: {said.read_text()}") from None
    finally:
        process.terminate()
        process.wait(20)


def seconds_until_begun_again(hive: Hive, process: psutil.Process) -> float:
    """Kill one of supervisord's children: seconds until it has started another in its place."""
    parent = process.parent()
    assert parent is not None
    before = {each.pid for each in parent.children()}
    began = time.monotonic()
    process.kill()
    eventually(lambda: {each.pid for each in parent.children()} - before, within=10)
    return time.monotonic() - began


@pytest.mark.alone
def test_a_killed_node_is_back_as_soon_as_it_can_start(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham", more='NODES = {"batman": {"replicas": 4}}') as hive:
        hive.node("batman")
        hive.start()
        eventually(lambda: well(hive), within=30)
        bare = min(bare_start(hive, 7) for _ in range(2))
        copies = [psutil.Process(hive.program(f"batman.{number}").pid) for number in range(4)]
        before = incarnation(hive, "batman.0")
        eventually(lambda: (hive.program("batman.3").uptime or 0.0) > 3.0, within=10)
        waited = [seconds_until_begun_again(hive, copies[0])]
        back = seconds_until_registered(hive, "batman.0", before) + waited[0]
        waited += [seconds_until_begun_again(hive, each) for each in copies[1:]]
        print(f"a bare start takes {bare:.2f} s, back after {back:.2f} s; waited for supervisord {waited}")
        assert sum(waited) < bare, "supervisord looks by itself once a second: four times that is about two seconds"
        assert back < 2.0 * bare + 0.5


LOOP = f"""
import os, time
{QUIET}
if "HIVEMIND_SUPERVISED" in os.environ:
    with open("{{topic}}-began", "a") as file:
        print(time.time(), file=file)
    time.sleep({{length}})
    os._exit({{status}})
"""


@pytest.mark.drill
@pytest.mark.timeout(180)
def test_nodes_that_end_again_and_again_begin_six_times_in_their_first_minute_at_most(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        ends = {"batman": (0, 1), "robin": (0.5, 0), "alfred": (1.2, 1), "joker": (3, 0)}
        for name, (length, status) in ends.items():
            hive.node(name, LOOP.replace("{length}", str(length)).replace("{status}", str(status)))
        hive.node("penguin")
        hive.start()
        pid = hive.program("penguin.0").pid
        eventually(lambda: all(began(hive, name) for name in ends), within=20)
        last = max(began(hive, name)[0] for name in ends)
        eventually(lambda: time.time() > last + 61.0, within=70)
        for name in ends:
            first, *others = began(hive, name)
            assert 3 <= len([at for at in others if at < first + 60.0]) + 1 <= 6, name
        assert hive.program("penguin.0").pid == pid
        assert hive.log("hived").count("\n") < 120


def began(hive: Hive, name: str) -> list[float]:
    path = hive.folder / f"{name}-began"
    return [float(line) for line in path.read_text().splitlines()] if path.exists() else []
