"""A large hive that many look at: ``python -m tests.watched --instances 1000``, which is `make watched`.

A thousand simulated instances (crowd.py), a real root, and real viewers: what showing them costs, how soon an event is
on the page, when a browser paints first, and what two hundred viewers take from two nodes that send as fast as can be.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from hivemind.root.pages import PAGES as ALL
from hivemind.topics import Names

from .browser import Browser, find_browser
from .crowd import crowd
from .crowd_members import HIVE
from .node_kit import NodeProcess, Workshop, workshop
from .servers import Connection
from .waiting import eventually

PAGES = (*[page.path for page in ALL if page.label][:4], "/nodes/member")
AS_USUAL = {"HIVEMIND_HEARTBEAT": "2.0", "HIVEMIND_LEASE": "6.0", "HIVEMIND_HIVE_DEFAULT_PORT": "0"}
CALM = 8.0  # seconds after which the root has its rates
PAINTS, EVENTS = 5, 5  # times that a page is painted, and that somebody comes
ROUND, ROUNDS = 6.0, 3  # seconds of a round of sending, and how many
MANY = 200  # viewers of such a round
BEHIND = 19  # viewers are on other machines: here they take no turn from a node

SOURCE = """
    from hivemind import Node, Service, service

    class Source(Node):
        @service("stream")
        def pour(self, service: Service) -> None:
            for _ in range(200):
                service.send(1)
            service.sleep_for(0.001)
"""
SINK = """
    import time
    from hivemind import Node, subscription

    class Sink(Node):
        count, since = 0, time.monotonic()

        @subscription("stream")
        async def take(self, payload: int) -> None:
            Sink.count += 1
            if time.monotonic() - Sink.since > 0.5:
                print("passed", Sink.count, time.monotonic(), flush=True)
                Sink.since = time.monotonic()
"""
GUEST = """
    from hivemind import Node, subscription

    class {kind}(Node):
        @subscription("invitation")
        async def come(self, payload: str) -> None: ...
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured: shares of a core, MiB, and seconds."""

    instances: int
    alone: float  # the root's share of a core while nobody looks
    watched: float  # and while each of PAGES is open
    memory: float  # MiB of the root then
    event: float  # from when a node says that it joined, until the page has it: the slowest of EVENTS
    paint: float  # the first of a page, the median of PAINTS for each of PAGES: the slowest of these
    slowed: float  # messages a second that two nodes pass while 200 look, as a part of what they pass when nobody does


class Viewers:
    """So many event streams, each of one of PAGES, in a process of their own."""

    def __init__(self, url: str, count: int) -> None:
        command = [sys.executable, "-m", "tests.watched", "--view", url, "--count", str(count)]
        self._process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "all are there\n"

    def close(self) -> None:
        """They leave."""
        self._process.kill()
        with self._process:
            pass


@contextmanager
def viewers(url: str, count: int) -> Iterator[None]:
    """Viewers while the block lasts."""
    made = Viewers(url, count)
    try:
        yield
    finally:
        made.close()


async def view(url: str, count: int) -> None:
    """Be so many viewers, until killed; say when each has got its first event."""
    streams = [asyncio.create_task(_follow(url, PAGES[at % len(PAGES)])) for at in range(count)]
    for each in streams:
        await each
    print("all are there", flush=True)
    await asyncio.gather(*[_drain(await each) for each in streams])


async def _follow(url: str, path: str) -> asyncio.StreamReader:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**24)
    writer.write(f"GET /events{path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    while not (line := await reader.readline()).startswith(b"data: "):
        assert line, f"{path}: no event came"
        assert not line.startswith(b"HTTP/1.1 ") or b" 200 " in line, f"{path}: {line!r}"
    reader._hm_writer = writer  # type: ignore[attr-defined]  # which would close the connection when it is collected
    return reader


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(2**16):
        pass


def passed(seconds: float) -> None:
    """Let time pass."""
    time.sleep(seconds)


class Watched:
    """The root of a crowd, and who else is there."""

    def __init__(self, shop: Workshop, door: Path) -> None:
        self._shop, self._door = shop, door
        self._root = shop.python("-m", "hivemind.root", **AS_USUAL)
        said = self._root.says("the page of crowd is at", within=30)
        self.url = next(line for line in said.splitlines() if "the page of crowd is at" in line).split()[-1]
        self.root = psutil.Process(self._root.pid)

    def measure(self, instances: int, seconds: float) -> Figures:
        """All of it, one after the other."""
        eventually(lambda: f"{instances:,} instances" in self.get("/"), within=30)
        passed(CALM)
        alone = self._share(seconds)
        with viewers(self.url, len(PAGES)):
            passed(CALM)
            watched, memory = self._share(seconds), self.root.memory_info().rss / 2**20
            event = max(self._event(instances + number + 1) for number in range(EVENTS))
        paint = self._paint()
        return Figures(instances, alone, watched, memory, event, paint, self._slowed())

    def get(self, path: str) -> str:
        """A page as it is now."""
        address = urlsplit(self.url)
        connection = HTTPConnection(str(address.hostname), address.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def _share(self, seconds: float) -> float:
        began, used = time.monotonic(), _cpu(self.root)
        passed(seconds)
        return (_cpu(self.root) - used) / (time.monotonic() - began)

    def _event(self, count: int) -> float:
        """How long after a node has said that it joined the overview shows so many instances."""
        name = f"guest{count}"
        path = self._shop.write(f"{name}.py", GUEST.format(kind=name.capitalize()))
        with Connection(self._door, timeout=30.0) as door, ThreadPoolExecutor(2) as pool:
            door.ask("SUBSCRIBE", Names(HIVE).control("node"))
            told = pool.submit(_when, lambda: name in str(door.read()))
            seen = pool.submit(self._when_shown, f"{count:,} instances")
            self._shop.run(str(path), **AS_USUAL)
            return seen.result(30) - told.result(30)

    def _when_shown(self, text: str) -> float:
        """When the overview has the text in an event."""
        address = urlsplit(self.url)
        connection = HTTPConnection(str(address.hostname), address.port, timeout=30)
        try:
            connection.request("GET", "/events/")
            answer = connection.getresponse()
            return _when(lambda: text.encode() in answer.readline())
        finally:
            connection.close()

    def _paint(self) -> float:
        """When the slowest page is painted first, in seconds from the click on."""
        program = find_browser()
        assert program is not None, "install chromium"
        with Browser(program) as browser:
            browser.open(self.url)  # so that the browser has loaded all of itself
            passed(2.0)
            return max(statistics.median(self._paints(browser, path) for _ in range(PAINTS)) for path in PAGES)

    def _paints(self, browser: Browser, path: str) -> float:
        browser.open("about:blank")
        browser.open(f"{self.url}{path}")
        first = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        milliseconds = eventually(lambda: browser.evaluate(first), within=20)
        return float(milliseconds) / 1000

    def _slowed(self) -> float:
        """How much of what two nodes pass they still pass while 200 look, in rounds by turns."""
        source, sink = (self._shop.write(f"{name}.py", text) for name, text in (("source", SOURCE), ("sink", SINK)))
        to = self._shop.run(str(sink), **AS_USUAL)
        to.says("running", within=30)
        self._shop.run(str(source), **AS_USUAL)
        to.says("passed", within=30, times=4)
        calm, seen = [], []
        for _ in range(ROUNDS):
            calm.append(_rate(to))
            with viewers(self.url, MANY):
                passed(1.0)
                seen.append(_rate(to))
        return statistics.median(seen) / statistics.median(calm)


def _rate(sink: NodeProcess) -> float:
    """Messages a second that it gets."""
    first = _passed(sink)
    passed(ROUND)
    last = _passed(sink)
    return (last[0] - first[0]) / (last[1] - first[1])


def _passed(sink: NodeProcess) -> tuple[int, float]:
    count, at = re.findall(r"^passed (\d+) ([\d.]+)$", sink.output, re.MULTILINE)[-1]
    return int(count), float(at)


def _when(is_so: Callable[[], bool]) -> float:
    """When something that is asked again and again is so."""
    while not is_so():
        pass
    return time.monotonic()


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.watched", description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="for how long the root's share is taken")
    parser.add_argument("--view", default="", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.view:
        os.nice(BEHIND)
        asyncio.run(view(chosen.view, chosen.count))
        return
    with tempfile.TemporaryDirectory(prefix="hm-") as folder, crowd(chosen.instances) as there:
        there.come()
        with workshop(Path(folder), there.server, HIVE) as shop:
            figures = Watched(shop, there.server.socket).measure(chosen.instances, chosen.seconds)
    for name, value in asdict(figures).items():
        print(f"{name:12} {value:,.3f}" if isinstance(value, float) else f"{name:12} {value:,}")


if __name__ == "__main__":
    main()
