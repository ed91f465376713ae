"""Instances are rolled while messages flow, live and durably: none is lost, none is handled twice."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hivemind import connect

from .busy_kit import NODES, Books, begin, quiet
from .hive_kit import Hive, kill, well
from .waiting import eventually

pytestmark = [pytest.mark.drill, pytest.mark.timeout(400)]

GAP = 1.0  # seconds for which nobody may consume


@pytest.fixture
def busy(gotham: Hive) -> Hive:
    """A hive under load."""
    begin(gotham)
    return gotham


def change(hive: Hive, text: str, *nodes: str) -> None:
    for node in nodes:
        file = hive.folder / f"nodes/{node}/{node}.py"
        file.write_text(file.read_text() + text)


@contextmanager
def asking(hive: Hive, name: str) -> Iterator[list[int]]:
    """Somebody asks again and again, and every request is answered; gives the answers."""
    answers: list[int] = []
    is_over = threading.Event()

    def ask() -> None:
        with connect(hive.folder) as client:
            while not is_over.wait(0.01):
                answers.append(client.request(name, len(answers), timeout=10.0))

    with ThreadPoolExecutor(1) as thread:
        asks = thread.submit(ask)
        try:
            yield answers
        finally:
            is_over.set()
        asks.result()


def test_nobody_misses_or_doubles_a_message_while_all_are_rolled(busy: Hive) -> None:
    books, before = Books(busy.folder / "cave"), busy.pids()
    eventually(lambda: len(books.read().sent["live"]) > 100, within=20)
    change(busy, "\nversion = 2\n", *NODES)
    with asking(busy, "advice-batman") as answers:
        eventually(lambda: answers, within=20)
        said = busy.run("hm", "roll", "@all", timeout=120)
    assert said.returncode == 0, said.stdout + said.stderr
    assert answers == [*range(len(answers))]
    assert said.stdout.count("; 0 missed, 0 dropped") == len(NODES)
    assert not {name for name, pid in busy.pids().items() if pid == before[name] and name.split(".")[0] in NODES}
    with quiet(busy, books):
        print(f"{ {kind: len(each) for kind, each in books.sent.items()} } sent; longest gap {books.longest:.3f} s")
        print(said.stdout)
        assert books.longest <= GAP


def test_a_version_that_is_not_well_is_taken_back_and_no_durable_message_is_lost(busy: Hive) -> None:
    books, before = Books(busy.folder / "cave"), busy.pids()
    change(busy, "    def on_shutdown(self):\n        pass\n\n    def on_start(self):\n        1 / 0\n", "batman")
    said = busy.run("hm", "roll", "@all", timeout=120)
    assert said.returncode == 1
    assert "batman.0: " in said.stdout.splitlines()[0]
    assert "ZeroDivisionError" in said.stdout
    assert "It went back to the code of release 1" in said.stdout
    assert {name for name, pid in busy.pids().items() if pid != before[name]} == {"batman.0"}
    assert busy.program("batman.0").state == "running"
    with quiet(busy, books, ("kept",)):
        assert books.sent["kept"]


@pytest.mark.parametrize("moment", ["*.next.pid", "*.go"])
def test_a_hived_that_is_killed_in_the_middle_of_a_roll_leaves_nothing_half_done(busy: Hive, moment: str) -> None:
    books, before, run = Books(busy.folder / "cave"), busy.pids(), busy.engine.paths.run
    change(busy, "\nversion = 2\n", *NODES)
    with subprocess.Popen(
        busy.command("hm", "roll", "@all"), cwd=busy.folder, env=busy.environ, stdout=subprocess.DEVNULL
    ) as rolling:
        eventually(lambda: any(run.glob(moment)), within=60)
        kill(busy.listener())
        rolling.kill()
    names = [f"{name}.0" for name in NODES]
    eventually(lambda: all(busy.pids()[name] not in (None, before[name]) for name in names), within=90)
    eventually(lambda: not list(run.glob("*.next.pid")) and well(busy), within=30)
    assert [len(busy.copies(name)) for name in NODES] == [1, 1, 1]
    with quiet(busy, books):
        assert books.sent["live"]
