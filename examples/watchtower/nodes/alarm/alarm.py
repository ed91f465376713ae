"""Raises an alert when something is far above usual for a while, and writes it to a file, one line of JSON each."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from hivemind import Message, Node, subscription

from ..common.options import OPTIONS
from ..common.records import Alert, Compared
from ..common.tally import TALLY
from .spells import Spell, in_words, judged


class Alarm(Node):
    """Sends ``alert.<series>`` once when a spell begins."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.spells: dict[str, Spell] = {}

    @subscription("usual.*")
    async def judge(self, payload: Compared, message: Message) -> None:
        TALLY.hears(self, message)
        series = message.topic.removeprefix("usual.")
        floor = OPTIONS.floors.get(series, 0.0)
        spell = self.spells.get(series, Spell())
        self.spells[series], is_raised = judged(spell, payload, floor=floor, samples=OPTIONS.spell)
        if is_raised:
            self.raise_alert(series, payload, message)

    def raise_alert(self, series: str, seen: Compared, message: Message) -> None:
        time = datetime.fromtimestamp(message.sent_at, UTC).isoformat(timespec="milliseconds")
        alert = Alert(time, f"alert.{series}", round(seen.value, 2), round(seen.usual, 2), in_words(series, seen))
        append(OPTIONS.alerts or self.settings.var / "alerts.jsonl", alert)
        TALLY.sends(self, alert.topic)
        self.send(alert.topic, alert)
        self.log_warning(alert.text)

    def on_shutdown(self) -> None:
        """All that was received is handled."""
        TALLY.ends(self)


def append(path: Path, alert: Alert) -> None:
    """Add one line to the file of alerts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(alert), ensure_ascii=False) + "\n")
