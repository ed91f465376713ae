"""What a node counted with its own hands, kept in a file: `make accept` compares it with the hive's ledger.

Off unless WATCHTOWER_TALLY names a folder. What is going to be sent is written down before it is sent, and what was
received while it is handled, so that the file is true even after ``kill -9``. Whatever is not ``final`` was written
while one message was in a handler, if the node has handlers.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from hivemind import Message
from hivemind.node.base import BaseNode

from .options import OPTIONS


class Tally:
    """The counts of one life of a node."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.sent: Counter[str] = Counter()
        self.heard: dict[str, list[int]] = {}  # by sender/incarnation/topic: count, first, last, how many out of order
        self._lock = threading.Lock()

    def sends(self, node: BaseNode, topic: str) -> None:
        """Note that a message is about to be sent."""
        if self.folder is not None:
            with self._lock:
                self.sent[topic] += 1
                self._write(node, self.folder, final=False)

    def hears(self, node: BaseNode, message: Message) -> None:
        """Note a message, in its handler."""
        if self.folder is not None:
            number = message.sequence
            with self._lock:
                heard = self.heard.setdefault(
                    f"{message.sender}/{message.incarnation}/{message.topic}", [0, number, 0, 0]
                )
                heard[0] += 1
                heard[3] += number <= heard[2]
                heard[2] = max(heard[2], number)
                self._write(node, self.folder, final=False)

    def ends(self, node: BaseNode) -> None:
        """Note that the node ends politely: what is in the file now is all."""
        if self.folder is not None:
            with self._lock:
                self._write(node, self.folder, final=True)

    def _write(self, node: BaseNode, folder: Path, *, final: bool) -> None:
        counted = {"instance": node.instance, "incarnation": node.bus.incarnation, "final": final}
        path = folder / f"{node.instance}.{node.bus.incarnation}.json"
        draft = path.with_suffix(f".{os.getpid()}")
        folder.mkdir(parents=True, exist_ok=True)
        ledgers = [asdict(one.record()) for one in node.bound_subscriptions]
        draft.write_text(json.dumps({**counted, "sent": self.sent, "heard": self.heard, "subscriptions": ledgers}))
        draft.replace(path)


TALLY = Tally(OPTIONS.tally)
