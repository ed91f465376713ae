"""`hm rate`: counts what `hm tail` would show, and tells of it window by window."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..cancelling import end
from ..data.histogram import BOUNDS, Histogram, quantile
from ..english import size_of
from ..message import Envelope
from ..node.meter import sent_at
from ..node.runner import ensure_redis, new_loop
from ..settings import Settings
from . import output
from .reading import quiet
from .streams import Writer, stop_on_signals
from .tailing import Tail, Wanted

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*#%"
COLUMNS = "time         messages/s     bytes/s      p50      p99"
SCALE = "0.1ms 10ms  1s    10min"  #: what the first, seventh ... column of the picture has at the most


@dataclass(frozen=True, slots=True)
class Windows:
    """How long each is in seconds, after how many it ends (0: never), and how they are told."""

    seconds: float
    count: int = 0
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """What passed by in one window."""

    messages: int
    size: int
    missed: int
    delays: Histogram


def rate(settings: Settings, patterns: Sequence[str], windows: Windows) -> None:
    """Tell until Ctrl-C, SIGTERM, or enough windows; then the summary. Raises RedisDenied."""
    quiet()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        output.note(runner.run(_rate(settings, tuple(patterns), windows)))


async def _rate(settings: Settings, patterns: tuple[str, ...], windows: Windows) -> str:
    stop = asyncio.Event()
    stop_on_signals(stop)
    endpoint = Endpoint.parse(await asyncio.to_thread(ensure_redis, settings), settings.var)
    async with Bus(endpoint, settings.name, f"hm-rate-{secrets.token_hex(4)}.0") as bus:
        rating = Rating(bus, patterns, stop, windows)
        await rating.run()
        return rating.summary()


class Rating:
    """One `hm rate` on a started bus; ``stop`` ends it."""

    def __init__(self, bus: Bus, patterns: tuple[str, ...], stop: asyncio.Event, windows: Windows) -> None:
        self._tail = Tail(bus, Wanted(patterns), stop, self._seen, Writer())
        self._stop, self._windows = stop, windows
        self._delays, self._before = Histogram(), (0, 0, 0)

    async def run(self) -> None:
        """Subscribe, and tell. Raises RedisError, and OSError when nobody reads us any more."""
        telling = asyncio.create_task(self._tell())
        try:
            await self._tail.run()
        finally:
            if telling.done():
                telling.result()
            await end(telling)

    def summary(self) -> str:
        """How much it was in all."""
        return self._tail.summary()

    def _seen(self, _: float | None, __: str, envelope: Envelope, *___: object) -> bytes:
        if (sent := sent_at(envelope)) is not None:
            self._delays.add(time.time() - sent)
        return b""

    def _counted(self) -> Counted:
        """What passed by since this was asked last."""
        now = self._tail.shown, self._tail.size, self._tail.missed
        messages, size, missed = (one - before for one, before in zip(now, self._before, strict=True))
        found, self._before, self._delays = Counted(messages, size, missed, self._delays), now, Histogram()
        return found

    async def _tell(self) -> None:
        """A line whenever a window is over."""
        try:
            await self._tail.listening.wait()
            loop = asyncio.get_running_loop()
            began, told = loop.time(), 0
            if not self._windows.as_json:
                output.write_lines([f"{COLUMNS}   {SCALE}"])
            while not self._windows.count or told < self._windows.count:
                told += 1
                await asyncio.sleep(began + told * self._windows.seconds - loop.time())
                output.write_lines([self._told(self._counted())])
        finally:
            self._stop.set()

    def _told(self, counted: Counted) -> str:
        seconds, counts = self._windows.seconds, counted.delays.counts
        p50, p99 = quantile(counts, 0.5), quantile(counts, 0.99)
        messages, size = counted.messages / seconds, counted.size / seconds
        if self._windows.as_json:
            bounds = [*BOUNDS, None]
            found = [[bound, count] for bound, count in zip(bounds, counts, strict=True) if count]
            told = {"time": time.time(), "seconds": seconds, "messages": counted.messages, "bytes": counted.size}
            rates = {"rate": messages, "bytes_rate": size, "delay_p50": p50, "delay_p99": p99}
            return output.json_text({**told, **rates, "delays": found, "missed": counted.missed})
        clock = time.strftime("%H:%M:%S")
        figures = f"{messages:14,.1f}{size_of(size) + '/s':>12}{short(p50):>9}{short(p99):>9}"
        less = f"   {counted.missed:,} missed" if counted.missed else ""
        return f"{clock}   {figures[1:]}   {bars(counts)}{less}".rstrip()


def bars(counts: Sequence[int]) -> str:
    """A small picture of a histogram: a column a bucket, the fullest the highest; "" of nothing."""
    encoding = (sys.stdout.encoding or "").lower()
    steps, most = BLOCKS if encoding.startswith("utf") else PLAIN, max(counts)
    if not most:
        return ""
    return "".join(steps[-(-count * (len(steps) - 1) // most)] for count in counts)


def short(seconds: float | None) -> str:
    """A short time, with the unit that fits; "" for none."""
    if seconds is None:
        return ""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}" if seconds < 1000 else f"{seconds:,.0f} s"
    return ""
