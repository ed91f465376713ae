"""Three nodes that send and receive, live and durably, and write down what they did: for what must lose nothing."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hivemind.drills.diary import Pages

from .hive_kit import Hive, well
from .waiting import eventually

HEAD = """
import os, pathlib
from hivemind import Node, responder, service, subscription
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

        @responder("advice-{topic}")
        async def advise(self, payload):
            return payload
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


def begin(hive: Hive) -> None:
    """Let three nodes run under about two hundred messages a second, of which each receiver gets all."""
    (hive.folder / "cave").mkdir()
    (hive.folder / "cave/quiet").touch()
    hive.node("caller", CALLER)
    hive.node("batman", HERO)
    hive.node("robin", HERO)
    hive.start()
    eventually(lambda: well(hive), within=60)
    (hive.folder / "cave/quiet").unlink()
