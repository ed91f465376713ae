"""Sells: sends numbered messages on ``sale.<its name>``, and writes down which of them it was told are safe.

A new life goes on behind the last number that any life before it may have sent. Some messages are made to be trouble:
their handler fails once, or always.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

from hivemind import Node
from hivemind.errors import Refused, Unconfirmed
from tests.soak_nodes.diary import FOLDER, Diary

BURST = 10  # messages between two questions whether they are safe
PAUSE = 0.25  # seconds between two bursts
FAILS, BAD = 0.02, 0.004  # how many fail once, and always


class Till(Node):
    """One of the senders."""

    def services(self) -> None:
        """Name the topic after the node."""
        self.add_service(f"sale.{self.name}", self.sell, durable=True, confirm="disk")

    def on_start(self) -> None:
        """Find out where the life before ended."""
        self.number = last_number(self.name)
        self.diary = Diary(self.name)
        self.diary.note("began", incarnation=self.bus.incarnation)

    def sell(self, service: Any) -> None:
        """Send a few, and wait until they are safe."""
        first, last = self.number + 1, self.number + BURST
        self.diary.note("sends", first=first, last=last)
        self.number = last
        for number in range(first, last + 1):
            service.send({"n": number, "trouble": trouble(random.random())})
        while True:
            try:
                service.flush(5.0)
            except Unconfirmed:
                if not service.sleep_for(0.0):
                    return
            except Refused as refused:
                self.diary.note("refused", first=first, last=last, count=len(refused.messages))
                return
            else:
                self.diary.note("safe", first=first, last=last)
                break
        service.sleep_for(PAUSE)


def trouble(dice: float) -> str:
    """What a message is made to do to its handler."""
    if dice < BAD:
        return "always"
    return "once" if dice < BAD + FAILS else ""


def last_number(name: str) -> int:
    """The last number that a life before may have sent."""
    last = 0
    for path in Path(os.environ[FOLDER]).glob(f"{name}.*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        last = max([last, *(line["last"] for line in lines if line["what"] == "sends")])
    return last
