"""A probe: a node that sends and receives, live and durably, and writes down what it did, while something breaks.

``python -m hivemind.drills.probe NAME NUMBER FOLDER [--canary]``: it sends after "go" on its standard input
and stops sending after "quiet"; when that ends, it ends. A canary acknowledges a message before its effect is written:
a drill that kills one has to find that.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Refused, Unconfirmed
from ..message import Message
from ..node.life import Place
from ..node.node import Node
from ..node.runner import How, run
from ..node.service import Service
from ..settings import find_hive, load_settings
from .diary import Diary
from .limits import TOLD

PREFIX = "hm-drill"  #: how the names of all probes, topics and groups of a drill begin
ALFA, BETA = "alfa", "beta"  #: the two kinds of probes: each hears the other; of beta there are two copies
LIVE, KEPT = "live", "kept"
RATE = 50.0  #: messages a second that a probe sends on each of its topics
BATCH = 5  #: kept messages between two questions whether they are safe
TAKES = 0.02  #: seconds that beta's handler of kept messages takes: who is killed has some in hand
BEHIND = 1.0  #: seconds for which a canary keeps each message that it acknowledged to itself
RETRIES = 50


def topic(name: str, kind: str) -> str:
    """The topic on which a probe sends."""
    return f"{PREFIX}.{name}.{kind}"


TOPICS = tuple(topic(name, kind) for name in (ALFA, BETA) for kind in (LIVE, KEPT))
INSTANCES = (f"{PREFIX}-{ALFA}.0", f"{PREFIX}-{BETA}.0", f"{PREFIX}-{BETA}.1")


class Probe(Node):
    """One probe, called ``name``, whose life is written down in ``folder``."""

    def __init__(self, name: str, number: int, folder: Path, *, is_canary: bool = False) -> None:
        super().__init__(f"{PREFIX}-{name}")
        self.me, self.other = name, BETA if name == ALFA else ALFA
        self.who = f"{self.name}.{number}.{os.getpid()}"
        self.diary = Diary(folder / f"{self.who}.jsonl")
        self.is_sending, self.is_quiet = threading.Event(), True
        self.sent = {LIVE: 0, KEPT: 0}
        self.unwritten: list[dict[str, Any]] | None = [] if is_canary else None

    def services(self) -> None:
        """What it sends."""
        self.add_service(topic(self.me, LIVE), self.send_live)
        self.add_service(topic(self.me, KEPT), self.send_kept, durable=True)

    def subscriptions(self) -> None:
        """What it hears: all that the other kind sends."""
        words = {"since": "all", "retries": RETRIES, "backoff": (0.2, 2.0)}
        self.add_subscription(topic(self.other, LIVE), self.hear_live)
        self.add_subscription(topic(self.other, KEPT), self.hear_kept, durable=True, **words)  # type: ignore[arg-type]

    def on_start(self) -> None:
        """Obey what comes on standard input, and say that we are there."""
        threading.Thread(target=self.obey, daemon=True).start()
        if self.unwritten is not None:
            threading.Thread(target=self.write_behind, daemon=True).start()
        self.diary.note("began")

    def obey(self) -> None:
        """Do as we are told; end when nobody is left who tells us."""
        for line in sys.stdin:
            if line.strip() == "go":
                self.is_quiet = False
                self.is_sending.set()
            else:
                self.is_sending.clear()
        os.kill(os.getpid(), signal.SIGTERM)

    # -- sending

    def send_live(self, service: Service) -> None:
        """Send one live message."""
        if self.is_sending.is_set():
            service.send(self.next(LIVE))
        service.sleep_for(1 / RATE)

    def send_kept(self, service: Service) -> None:
        """Send a few kept messages, and write down when they are safe; when to be quiet, say when all is out."""
        if self.is_sending.is_set():
            first = self.sent[KEPT] + 1
            for _ in range(BATCH):
                service.send(self.next(KEPT))
            if self.settled(service):
                self.diary.note("safe", first=first, last=self.sent[KEPT])
        elif not self.is_quiet:
            service.sleep_for(5 / RATE)  # what the other service has begun to send is out by then
            if self.settled(service):
                self.is_quiet = True
                self.diary.note("quiet", live=self.sent[LIVE])
        service.sleep_for(BATCH / RATE)

    def next(self, kind: str) -> dict[str, Any]:
        """The next message of a kind."""
        self.sent[kind] += 1
        return {"who": self.who, "n": self.sent[kind], "at": time.monotonic()}

    def settled(self, service: Service) -> bool:
        """Wait until Redis has what was sent; False if it has refused that, or we are to stop."""
        while True:
            try:
                service.flush(TOLD)
            except Unconfirmed:
                self.diary.note("unconfirmed")
                if not service.sleep_for(0.05):
                    return False
            except Refused:
                self.diary.note("refused")
                return False
            else:
                return True

    # -- hearing

    async def hear_live(self, payload: dict[str, Any]) -> None:
        """Write down what came."""
        self.diary.note(LIVE, who=payload["who"], n=payload["n"], sent=payload["at"])

    def hear_kept(self, payload: dict[str, Any], message: Message) -> None:
        """Write down what came; the disk has it before it is acknowledged."""
        line = {"who": payload["who"], "n": payload["n"], "sent": payload["at"]}
        if self.me == BETA:
            time.sleep(TAKES)
        if self.unwritten is None:
            self.diary.note(KEPT, on_disk=True, **line)
        else:
            message.ack()
            self.unwritten.append({**line, "acknowledged": time.monotonic()})

    def write_behind(self) -> None:
        """What a canary does wrong."""
        assert self.unwritten is not None
        while True:
            time.sleep(BEHIND / 20)
            while self.unwritten and self.unwritten[0]["acknowledged"] < time.monotonic() - BEHIND:
                self.diary.note(KEPT, on_disk=True, **self.unwritten.pop(0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one probe until it is told to end."""
    parser = argparse.ArgumentParser(prog="python -m hivemind.drills.probe")
    parser.add_argument("name", choices=[ALFA, BETA])
    parser.add_argument("number", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--canary", action="store_true")
    chosen = parser.parse_args(arguments)
    settings = load_settings(find_hive(Path.cwd(), None, os.environ))
    probe = Probe(chosen.name, chosen.number, chosen.folder, is_canary=chosen.canary)
    return run(probe, settings, How(Place(chosen.number, is_fixed=True)))


if __name__ == "__main__":
    sys.exit(main())
