"""What a process of a measurement is told, and how it makes payloads and counts them: the same for every peer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from hivemind.patterns import SERVER, PatternMode

from .window import BATCH, Sender, Window

VARIABLE = "BENCHMARK_TASK"
GAP = 0.005  #: seconds between two messages when latency is measured
Payload = Literal["small", "clock"] | int


@dataclass(frozen=True, slots=True)
class Task:
    """One process's part. ``payload`` is "small", "clock" (a latency is taken) or how many characters of text;
    ``patterns`` says how the hive keeps them, ``durable`` whether messages are to be handled at least once.
    """

    url: str
    window: str
    payload: Payload = "small"
    topic: str = "bench"
    slot: int = 0
    count: int = 1
    patterns: PatternMode = SERVER
    durable: bool = False

    @classmethod
    def here(cls) -> Task:
        """The task of this process."""
        return cls(**orjson.loads(os.environ[VARIABLE]))

    def environment(self) -> dict[str, str]:
        """How a process is told."""
        return {VARIABLE: orjson.dumps(asdict(self)).decode()}

    def open(self) -> Window:
        """The shared counters."""
        return Window(Path(self.window))

    @property
    def is_latency(self) -> bool:
        """Whether single messages are timed."""
        return self.payload == "clock"

    @property
    def gap(self) -> float:
        """Seconds between two requests of who asks."""
        return GAP if self.is_latency else 0.0

    def sender(self) -> Sender:
        """What says to a publisher what to send."""
        batch, gap = (1, GAP) if self.is_latency else (BATCH, 0.0)
        return Sender(self.open(), _maker(self.payload), batch, gap)

    def handler(self) -> Callable[[Any], None]:
        """What counts a message in a peer's subscriber."""
        window, slot = self.open(), self.slot
        handled = window.handled

        def count(payload: Any) -> None:
            handled[slot] += 1

        def clock(payload: Any) -> None:
            window.sample(time.perf_counter_ns() - payload["t"])
            handled[slot] += 1

        return clock if self.is_latency else count


def _maker(payload: Payload) -> Callable[[Sequence[int]], list[Any]]:
    if payload == "small":
        return lambda numbers: [{"i": number, "unit": "C"} for number in numbers]
    if payload == "clock":  # the clock is the same in all processes of a machine
        return lambda numbers: [{"i": number, "t": time.perf_counter_ns()} for number in numbers]
    text = "x" * payload
    return lambda numbers: [text] * len(numbers)
