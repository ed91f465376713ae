"""Acceptance on real input: ``python -m tests.accept --minutes 10``, which is `make accept`; 2 minutes in the tests.

Watchtower runs through hived on a Redis of its own. Every process is killed with -9 once: the root, hived's listener,
supervisord, each node, Redis; then Redis is restarted empty. Then one core is kept busy for 20 s. It passes when all
came back, ``alert.cpu`` for that load is in the file and none before, and the ledger's sums equal the counts taken in
the handlers; what exactly is equal to what is in accept_books.py.

CPU is what this process and its descendants use, as percent of one core, so that other people's load on the machine
is no part of it: it only makes the load smaller, down to the floor.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from hivemind.bus.embedded import Embedded
from hivemind.errors import SupervisorError
from hivemind.supervisor.client import ProgramState
from hivemind.supervisor.render import LISTENER

from . import accept_books as books
from .example_kit import Example

T = TypeVar("T")

# A restart of everything takes 3 s of a core: that is no spell, however long a busy machine makes it last.
EVERY, WARMUP, SPELL, FLOOR = 1.0, 15, 12, 30.0
BURN = 20.0  # seconds
TRIES = 3  # on a machine so busy that the load does not get half a core
BURNING = f"import time\nend = time.monotonic() + {BURN}\nwhile time.monotonic() < end: pass"
LATE = 5.0  # seconds after the load within which its alert may still come
PATIENCE = 45.0  # seconds until what was killed must be back
CALM = 3.0  # seconds that everything must run before the next is killed
LAST_PART = 50.0  # seconds that are left when the last one is killed: learning anew, the load, stopping
STEP = 0.25
NODES = ("gauges.0", "usual.0", "alarm.0")
VICTIMS = ("root.0", "hived", "supervisord", *NODES, "redis", "redis, emptied")


class Failed(Exception):
    """The acceptance cannot go on."""


@dataclass(frozen=True, slots=True)
class Killed:
    """One that was killed, and when it was back: it itself, and the flow from measuring to judging."""

    who: str
    pid: int
    new_pid: int
    back: float
    flowing: float


class Acceptance:
    """One run, in ``folder``; ``run`` prints what happens, and the outcome."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self.minutes = folder, minutes
        self.tally, self.alerts = folder / "tally", folder / "alerts.jsonl"
        self.killed: list[Killed] = []
        self.findings: list[books.Finding] = []
        settings: dict[str, object] = {"EVERY": EVERY, "WARMUP": WARMUP, "HALF_LIFE": 60, "SPELL": SPELL}
        settings |= {"FLOOR_CPU": FLOOR, "TREE": os.getpid(), "ALERTS": self.alerts, "TALLY": self.tally}
        environ = {f"WATCHTOWER_{name}": str(value) for name, value in settings.items()}
        self.hive = Example("watchtower", folder, **environ)

    def run(self) -> bool:
        """Whether it passed."""
        began = time.monotonic()
        shown = self.folder / "shown"
        with shown.open("wb") as output:
            process = self.hive.foreground(output)
        try:
            say(f"watchtower starts in {self.folder}")
            wait_for("watchtower is up", self.is_flowing, 60)
            self.kill_all(began)
            self.keep_a_core_busy()
            self.stop(process)
            self.findings += books.check(books.read(self.tally))
        except Failed as error:
            self.findings.append(books.Finding("it runs to the end", False, str(error)))
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(10)
            self.hive.end()
        return self.report(time.monotonic() - began)

    # -- killing

    def kill_all(self, began: float) -> None:
        """Kill one after the other, spread over the time that there is."""
        pause = max(0.0, began + self.minutes * 60 - LAST_PART - time.monotonic()) / len(VICTIMS)
        for number, who in enumerate(VICTIMS, 1):
            until = time.monotonic() + pause
            self.killed.append(self.kill(who))
            one = self.killed[-1]
            say(f"{number}/{len(VICTIMS)} {who}: killed {one.pid}, back as {one.new_pid} after {one.back:.1f} s")
            time.sleep(max(CALM, until - time.monotonic()))

    def kill(self, who: str) -> Killed:
        """Kill one, and wait until it is back and messages flow again."""
        before, emptied = self.pid(who), who.endswith("emptied")
        assert before is not None, f"{who} does not run"
        if emptied:  # the server goes on writing to the moved files, and its successor finds none
            (self.hive.folder / "var" / "redis" / "appendonlydir").rename(self.folder / "lost")
        os.kill(before, signal.SIGKILL)
        at = time.monotonic()
        after = wait_for(f"{who} is back", lambda: self.other(who, before), PATIENCE)
        back, counted = time.monotonic() - at, self.flow()
        wait_for(
            f"messages flow after {who} was killed", lambda: self.flow() >= counted + 10 and self.is_flowing(), PATIENCE
        )
        if emptied:
            self.see_who_registered_again()
        return Killed(who, before, after, back, time.monotonic() - at)

    def see_who_registered_again(self) -> None:
        """Redis forgot everybody: the same lives have to enter themselves again."""
        lives = {life.instance: life.incarnation for life in books.read(self.tally)}
        wait_for("all registered again", lambda: lives.items() <= self.incarnations().items(), PATIENCE)
        lost = [name for name in lives if "Redis lost its data" in (self.hive.logs / f"{name[:-2]}.log").read_text()]
        figures = f"{', '.join(lost)} noticed that Redis had lost its data; registered with the incarnations of before"
        self.findings.append(
            books.Finding("Redis came back empty, and nobody had to begin anew", len(lost) == 3, figures)
        )

    def incarnations(self) -> dict[str, int]:
        """Who is registered, and in which life."""
        return {name: one.incarnation for name, one in self.hive.instances().items() if not one.is_lost}

    def other(self, who: str, before: int) -> int | None:
        """The pid of its successor, once that lives and, if it is an instance, is registered."""
        now = self.pid(who)
        return now if now not in (None, before) else None

    def pid(self, who: str) -> int | None:
        """The living process that is this one; None if there is none at this moment."""
        if who == "supervisord":
            found = self.hive.engine.supervisord()
            return found.pid if found is not None else None
        if who == "hived":
            return self.listener()
        if who.startswith("redis"):
            server = Embedded.of(self.hive.engine.settings).status()
            return server.pid if server.is_answering else None
        instance = self.hive.instances().get(who)
        is_there = instance is not None and not instance.is_lost and instance.state == "running"
        return instance.about.pid if instance is not None and is_there else None

    def listener(self) -> int | None:
        """The pid of hived's listener; None while supervisord does not answer."""
        try:
            found = self.hive.engine.client().program(LISTENER)
        except SupervisorError:
            return None
        return found.pid if found.state is ProgramState.RUNNING else None

    def flow(self) -> int:
        """How many readings all lives of ``alarm`` have judged."""
        return sum(life.received for life in books.read(self.tally) if life.instance == "alarm.0")

    def is_flowing(self) -> bool:
        """Whether the newest life of each node hears the newest life of the one before it, on all topics."""
        newest = {life.instance: life for life in books.read(self.tally)}
        return newest.keys() == set(NODES) and all(
            sum(one.incarnation == newest[sender].incarnation for one in newest[receiver].heard) == 5
            for sender, receiver in pairwise(NODES)
        )

    # -- the load

    def keep_a_core_busy(self) -> None:
        """Keep one core busy once ``usual`` knows what is usual, and wait for the alert."""
        wait_for("usual knows the CPU", self.is_known, 90)
        begin = time.time()
        for _ in range(TRIES):
            share = burn()
            say(f"a core was kept busy for {BURN:g} s; the machine gave the load {100 * share:.0f} % of it")
            if share > 0.5:
                break
        end = time.time()
        with suppress(Failed):
            wait_for("an alert", lambda: self.cpu_alerts(begin, end + LATE), LATE)
        before, during = self.cpu_alerts(0.0, begin), self.cpu_alerts(begin, end + LATE)
        said = "; ".join(text for _, text in during) or "nothing"
        self.findings += [
            books.Finding("alert.cpu for the load is in the file", bool(during), f"{len(during)}: {said}"),
            books.Finding("no alert.cpu before the load", not before, f"{len(before)} {before or ''}"),
        ]

    def is_known(self) -> bool:
        """Whether the living ``usual`` has had enough samples since, with some calm ones."""
        newest = {life.instance: life for life in books.read(self.tally)}
        return newest["usual.0"].sent.get("usual.cpu", 0) > WARMUP + 5

    def cpu_alerts(self, begin: float, end: float) -> list[tuple[float, str]]:
        """The alerts in the file about the CPU between two times."""
        lines = self.alerts.read_text().splitlines() if self.alerts.exists() else []
        found = [json.loads(line) for line in lines]
        times = [(datetime.fromisoformat(one["time"]).timestamp(), str(one["text"])) for one in found if is_cpu(one)]
        return [(at, text) for at, text in times if begin <= at <= end]

    # -- the end

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Stop the nodes politely, senders first, so that the books can be closed; then the rest."""
        for name in ("gauges", "usual", "alarm"):
            done = self.hive.run("hm", "stop", name)
            if done.returncode:
                raise Failed(f"hm stop {name}: {done.stderr}")
        code = self.hive.stop(process)
        left = [one.pid for one in self.hive.processes()]
        self.findings.append(
            books.Finding("hived stops everything", code == 0 and not left, f"exit code {code}, {len(left)} left")
        )

    def report(self, took: float) -> bool:
        """Print what was killed, what was found, and the outcome."""
        say("")
        say(f"{'killed with -9':<16}{'pid':>8}{'new pid':>9}{'back after':>12}{'flowing after':>15}")
        for one in self.killed:
            say(f"{one.who:<16}{one.pid:>8}{one.new_pid:>9}{one.back:>10.1f} s{one.flowing:>13.1f} s")
        say("")
        for finding in self.findings:
            say(f"{'ok  ' if finding.ok else 'FAIL'} {finding.what}\n       {finding.figures}")
        passed = len(self.killed) == len(VICTIMS) and all(finding.ok for finding in self.findings)
        say(f"\nPASS after {took:.0f} s" if passed else f"\nFAIL after {took:.0f} s; logs and books: {self.folder}")
        return passed


def burn() -> float:
    """Keep a core busy, and return which share of it the machine gave."""
    before = os.times()
    subprocess.run([sys.executable, "-c", BURNING], check=True, timeout=BURN * 3)
    after = os.times()
    return (after.children_user - before.children_user) / BURN


def is_cpu(alert: dict[str, object]) -> bool:
    """Whether an alert is about the CPU."""
    return alert["topic"] == "alert.cpu"


def wait_for(what: str, check: Callable[[], T | None], within: float) -> T:
    """Look now and then, gently: what this process uses is part of what is measured. Raises Failed."""
    deadline = time.monotonic() + within
    while not (found := check()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {within:g} s: {what}")
        time.sleep(STEP)
    return found


def say(text: str) -> None:
    """Tell whoever watches."""
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.accept", description="Acceptance on real input.")
    parser.add_argument("--minutes", type=float, default=10.0)
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="hm-accept-"))
    if not Acceptance(folder, chosen.minutes).run():
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
