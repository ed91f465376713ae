"""Handles what is sold, in the group of its name, and writes down when it begins and when it ends with each message."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from hivemind import Node, subscription
from tests.soak_nodes.diary import Diary

RETRIES = 5
LONG, LASTS = 0.001, 2.5  # how many take long, and how many seconds


class Shop(Node):
    """One of the readers."""

    def on_start(self) -> None:
        """Open the diary."""
        self.diary = Diary(self.instance)
        self.diary.note("began", group=self.name, incarnation=self.bus.incarnation)

    @subscription("sale.*", durable=True, since="all", retries=RETRIES, backoff=(0.3, 2.0))
    async def pack(self, payload: dict[str, Any], message: Any) -> None:
        """Take a moment, sometimes long; fail where the message is made so."""
        which = {"topic": message.topic, "n": payload["n"], "try": message.deliveries}
        self.diary.note("begins", **which)
        await asyncio.sleep(LASTS if random.random() < LONG else random.uniform(0, 0.006))
        if payload["trouble"] == "always" or (payload["trouble"] == "once" and message.deliveries == 1):
            self.diary.note("fails", **which)
            raise OSError("the shelf is empty")
        self.diary.note("ends", **which)
