"""Learns what is usual of each series, and sends every reading beside it."""

from __future__ import annotations

from hivemind import Message, Node, subscription

from ..common.options import OPTIONS
from ..common.records import Compared, Reading
from ..common.tally import TALLY
from .learning import Usual, learned


class UsualNode(Node):
    """Compares a reading with what was usual before it, then learns from it."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.series: dict[str, Usual] = {}

    @subscription("host.*")
    async def compare(self, payload: Reading, message: Message) -> None:
        TALLY.hears(self, message)
        series = message.topic.removeprefix("host.")
        before = self.series.get(series, Usual())
        self.series[series] = learned(before, payload.value, warmup=OPTIONS.warmup, half_life=OPTIONS.half_life)
        topic = f"usual.{series}"
        TALLY.sends(self, topic)
        self.send(topic, Compared(payload.value, payload.unit, before.mean, before.deviation, before.known))

    def on_shutdown(self) -> None:
        """All that was received is handled."""
        TALLY.ends(self)
