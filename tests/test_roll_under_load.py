"""Instances are rolled while messages flow, live and durably: none is lost, none is handled twice."""

from __future__ import annotations

import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hivemind.drills.diary import Pages

from .hive_kit import Hive, kill, well
from .waiting import eventually

pytestmark = [pytest.mark.drill, pytest.mark.timeout(400)]

GAP = 1.0  # seconds for which nobody may consume
HEAD = """
import os, pathlib
from hivemind import Node, service, subscription
from hivemind.drills.diary import Diary

CAVE = pathlib.Path(os.environ["HIVEMIND_HIVE"]) / "cave"

"""
CALLER = HEAD + textwrap.dedent("""
    import time

    class Caller(Node):
        def on_start(self):
            self.diary = Diary(CAVE / f"{self.instance}.{os.getpid()}.jsonl")
            self.sent = {"live": 0, "kept": 0}

        def next(self, kind):
            self.sent[kind] += 1
            self.diary.note("sent", kind=kind, n=self.sent[kind])
            return {"who": os.getpid(), "n": self.sent[kind], "at": time.monotonic()}

        @service("signal")
        def signal(self, service):
            if not (CAVE / "quiet").exists():
                service.send(self.next("live"))
            service.sleep_for(0.01)

        @service("order", durable=True)
        def order(self, service):
            if not (CAVE / "quiet").exists():
                service.send(self.next("kept"))
            service.sleep_for(0.01)
    """)
HERO = HEAD + textwrap.dedent("""
    class {name}(Node):
        def on_start(self):
            self.diary = Diary(CAVE / f"{self.instance}.{os.getpid()}.jsonl")

        @subscription("signal")
        def hear(self, payload):
            self.diary.note("live", who=payload["who"], n=payload["n"], sent=payload["at"])

        @subscription("order", durable=True, since="all")
        def obey(self, payload):
            self.diary.note("kept", who=payload["who"], n=payload["n"], sent=payload["at"])
    """)
NODES = ("caller", "batman", "robin")


class Books:
    """What was sent, and how often each receiver had it."""

    def __init__(self, folder: Path) -> None:
        self._pages = Pages(folder)
        self.sent: dict[str, set[tuple[int, int]]] = {"live": set(), "kept": set()}
        self.had: dict[tuple[str, str], Counter[tuple[int, int]]] = {
            (name, kind): Counter() for name in ("batman", "robin") for kind in ("live", "kept")
        }
        self.longest = 0.0  # seconds from sending to handling, of live messages

    def read(self) -> Books:
        for life, line in self._pages.new():
            name, _, pid = life.partition(".")[0], *life.rpartition(".")[1:]
            if line["what"] == "sent":
                self.sent[line["kind"]].add((int(pid), line["n"]))
            elif line["what"] in ("live", "kept"):
                self.had[name, line["what"]][line["who"], line["n"]] += 1
                if line["what"] == "live":
                    self.longest = max(self.longest, line["at"] - line["sent"])
        return self

    def faults(self, kinds: tuple[str, ...] = ("live", "kept")) -> dict[tuple[str, str, str], int]:
        """How many messages each receiver did not have, and how many it had twice; nothing where all is well."""
        found = {}
        for (name, kind), had in self.had.items():
            if kind in kinds:
                found[name, kind, "missed"] = len(self.sent[kind] - had.keys())
                found[name, kind, "doubled"] = sum(times - 1 for times in had.values())
        return {what: number for what, number in found.items() if number}


def even(books: Books, kinds: tuple[str, ...]) -> bool:
    """Whether everybody has had all; for ``eventually``."""
    assert not books.read().faults(kinds)
    return True


@contextmanager
def quiet(hive: Hive, books: Books, kinds: tuple[str, ...] = ("live", "kept")) -> Iterator[None]:
    """Nothing is sent: what was has arrived, or does not come any more."""
    (hive.folder / "cave/quiet").touch()
    try:
        eventually(lambda: even(books, kinds), within=20)
        yield
    finally:
        (hive.folder / "cave/quiet").unlink()


@pytest.fixture
def busy(gotham: Hive) -> Hive:
    """A hive of three nodes under about two hundred messages a second, of which each receiver gets all."""
    (gotham.folder / "cave").mkdir()
    (gotham.folder / "cave/quiet").touch()
    gotham.node("caller", CALLER)
    gotham.node("batman", HERO)
    gotham.node("robin", HERO)
    gotham.start()
    eventually(lambda: well(gotham), within=60)
    (gotham.folder / "cave/quiet").unlink()
    return gotham


def change(hive: Hive, text: str, *nodes: str) -> None:
    for node in nodes:
        file = hive.folder / f"nodes/{node}/{node}.py"
        file.write_text(file.read_text() + text)


def test_nobody_misses_or_doubles_a_message_while_all_are_rolled(busy: Hive) -> None:
    books, before = Books(busy.folder / "cave"), busy.pids()
    eventually(lambda: len(books.read().sent["live"]) > 100, within=20)
    change(busy, "\nversion = 2\n", *NODES)
    said = busy.run("hm", "roll", "@all", timeout=120)
    assert said.returncode == 0, said.stdout + said.stderr
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
