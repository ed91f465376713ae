"""The root, hived and supervisord, each killed again and again while messages flow: no node notices."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hivemind.errors import SupervisorError
from hivemind.supervisor.client import ProgramState

from .hive_kit import Hive, hive_in, well
from .waiting import eventually

pytestmark = [pytest.mark.drill, pytest.mark.alone, pytest.mark.timeout(600)]

TIMES = 20
CALM = 5.0  #: seconds
USUAL, STALL = 0.01, 0.25  #: seconds that a message, and one of a hundred, may take where what starts has the cores
TALKER = """
import time
from hivemind import Node, service

class {name}(Node):
    @service("clock", every=0.01)
    def tell(self, service):
        self.told = getattr(self, "told", 0) + 1
        service.send([self.told, time.monotonic()])
"""
HEARER = """
import time
from hivemind import Node, subscription

class {name}(Node):
    def on_start(self):
        self.diary = open("diary", "a", buffering=1)

    @subscription("clock")
    async def hear(self, payload: list):
        number, sent = payload
        print(number, sent, time.monotonic() - sent, file=self.diary)
"""


class Watched:
    """A hive in which one node tells another the time, a hundred times a second."""

    def __init__(self, hive: Hive) -> None:
        self.hive = hive
        hive.node("talker", TALKER)
        hive.node("hearer", HEARER)
        hive.start()
        eventually(lambda: well(hive), within=60)
        eventually(lambda: len(self.heard()) > 10, within=20)
        self.pids = self.nodes()

    def nodes(self) -> dict[str, int | None]:
        return {name: pid for name, pid in self.hive.pids().items() if name not in ("root", "redis")}

    def heard(self) -> list[list[float]]:
        """Number, time and delay of all messages."""
        lines = (self.hive.folder / "diary").read_text().splitlines()
        return [[float(word) for word in line.split()] for line in lines[:-1]]

    def delays(self, since: float) -> list[float]:
        """How long each message was under way that was sent since then, the shortest first."""
        return sorted(took for _, sent, took in self.heard() if sent > since)

    def is_whole(self) -> bool:
        """Whether no message is missing, doubled or out of order."""
        numbers = [number for number, *_ in self.heard()]
        return numbers == [numbers[0] + count for count in range(len(numbers))]

    def while_killed(self, pid: Callable[[], int]) -> list[float]:
        """What messages took while whoever has that pid was killed, and again when another was there, TIMES times."""
        began = time.monotonic()
        for _ in range(TIMES):
            before = eventually(pid, within=60)
            os.kill(before, signal.SIGKILL)
            eventually(lambda before=before: pid() not in (0, before), within=60)  # type: ignore[misc]
        return self.delays(began)


def of_program(hive: Hive, name: str) -> int:
    """The pid that supervisord has for it, if it has been up for a while; else 0."""
    try:
        found = hive.engine.client(1.0).program(name)
    except SupervisorError:
        return 0
    return found.pid if found.state is ProgramState.RUNNING else 0


def of_supervisord(hive: Hive) -> int:
    found = hive.engine.supervisord()
    return found.pid if found is not None else 0


def at(delays: list[float], share: float) -> float:
    return delays[int(len(delays) * share)]


def told(delays: list[float]) -> str:
    return " / ".join(f"{1000 * at(delays, share):.2f} ms" for share in (0.5, 0.99))


def test_no_node_notices_that_the_root_hived_and_supervisord_are_killed_twenty_times_each(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        watched = Watched(hive)
        began = time.monotonic()
        eventually(lambda: time.monotonic() > began + CALM, within=CALM + 5)
        calm = watched.delays(began)
        victims: dict[str, Callable[[], int]] = {
            "root": lambda: of_program(hive, "root"),
            "hived": lambda: of_program(hive, "hived"),
            "supervisord": lambda: of_supervisord(hive) if of_program(hive, "hived") else 0,  # who starts another
        }
        for who, pid in victims.items():
            delays = watched.while_killed(pid)
            print(f"{who}: {len(delays)} messages, median and 99 of 100 {told(delays)}; when calm {told(calm)}")
            eventually(lambda: well(hive), within=120)  # what ended so often waits for up to a minute
            assert watched.nodes() == watched.pids
            assert watched.is_whole()
            assert at(delays, 0.5) < max(3 * at(calm, 0.5), USUAL)
            assert at(delays, 0.99) < max(10 * at(calm, 0.99), STALL)
