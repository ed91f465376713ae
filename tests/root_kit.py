"""For the tests of the root: instances made up, a source that lists them, and the page on a port of its own."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.data.records import About, Instance, ServiceRecord, Stats, SubscriptionRecord
from hivemind.picture.durable import DurableView
from hivemind.picture.monitor import Monitor
from hivemind.picture.past import Step
from hivemind.picture.snapshot import Snapshot
from hivemind.picture.state import State
from hivemind.root.address import listen
from hivemind.root.app import Site, make_app
from hivemind.root.feeds import Feeds
from hivemind.root.pages import Hive, Item, Page, Visit
from hivemind.root.server import WebServer
from hivemind.settings import Settings

LEASE = 6.0


def instance(
    name: str = "batman.0",
    *,
    beat: float | None = 100.0,
    incarnation: int = 1,
    sent: Mapping[str, int] | None = None,
    received: Mapping[str, int] | None = None,
    stats: Stats | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Instance:
    """An instance whose last beat was at ``beat``, by Redis's clock; None: it is lost and no more is known."""
    node = name.rpartition(".")[0]
    if beat is None:
        return Instance(name, incarnation, None, About(node, "", 0, 0.0, 0.0), Stats())
    services = tuple(ServiceRecord(topic, "running", count) for topic, count in (sent or {}).items())
    subscriptions = tuple(
        SubscriptionRecord(pattern, "on_message", received=count, handled=count)
        for pattern, count in (received or {}).items()
    )
    about = About(node, "cave", 4242, 50.0, LEASE, metadata=metadata or {})
    return Instance(name, incarnation, beat + LEASE, about, stats or Stats("running", services, subscriptions))


@dataclass
class FakeSource:
    """A registry that says what it is told to; ``error`` is raised instead while it is set."""

    listed: list[Instance] = field(default_factory=list)
    error: Exception | None = None
    why: str = ""
    reads: int = 0
    alone: int = 0
    view: DurableView = field(default_factory=DurableView)
    known: State = field(default_factory=State)
    kept: list[Step] = field(default_factory=list)

    async def instances(self) -> list[Instance]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return list(self.listed)

    async def those(self, instances: Collection[str]) -> list[Instance]:
        self.alone += 1
        return [one for one in self.listed if one.instance in instances]

    async def durable(self, instances: Sequence[Instance]) -> DurableView:
        return self.view

    async def state(self, instances: Sequence[Instance]) -> State:
        return self.known

    def silence(self) -> str:
        return self.why if self.error is not None else ""

    async def past(self, finished: Sequence[Step]) -> Sequence[Step]:
        self.kept += finished
        return []


@dataclass
class Running:
    """A page that is served by a thread."""

    port: int
    source: FakeSource
    loop: asyncio.AbstractEventLoop
    monitor: Monitor
    hive: Hive | None = None
    stopped_in: float = -1.0

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
        """Ask for ``path``; ``Host`` among the headers replaces the right one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    @contextmanager
    def events(self, path: str = "/nodes") -> Iterator[Stream]:
        """An open event stream of the page at ``path``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"/events{path}")
            yield Stream(connection.getresponse())
        finally:
            connection.close()

    def stop(self) -> None:
        """Let it stop; may be called twice."""
        with suppress(RuntimeError):  # its loop is closed already
            self.loop.call_soon_threadsafe(self.monitor.close)

    def refresh(self) -> None:
        """Let the monitor read the source now."""
        self.loop.call_soon_threadsafe(self.monitor.notice)


@dataclass
class Stream:
    """What a viewer receives."""

    response: http.client.HTTPResponse

    def next(self) -> Any:
        """The data of the next event; EOFError when the server has ended the stream."""
        kind = b""
        while line := self.response.readline():
            if line.startswith(b"event: "):
                kind = line[7:].strip()
            elif line.startswith(b"data: ") and kind != b"sign":
                return orjson.loads(line[6:])
        raise EOFError

    def nodes(self) -> list[Any]:
        """The nodes in the next event."""
        return list(self.next()["lists"]["lines"])


def tree_of(page: Page, snapshot: Snapshot, now: float = 100.0, **path: str) -> Item:
    """What a page shows that waits for nobody."""
    try:
        page.tree(Visit(snapshot, now, path)).__await__().send(None)
    except StopIteration as end:
        made: Item = end.value
        return made
    raise AssertionError("it waits")


@contextmanager
def running(
    source: FakeSource,
    site: Site | None = None,
    *,
    every: float = 60.0,
    port: int = 0,
    settings: Settings | None = None,
) -> Iterator[Running]:
    """Serve the page of ``source`` from a thread until the block ends; ``stopped_in`` then says how long that took.

    With ``settings`` the logs of that hive are served, too.
    """
    begun = threading.Event()
    made: list[Running] = []

    async def serve() -> None:
        listener = listen(port)
        monitor = Monitor(source, "gotham", "redis://127.0.0.1:1", every=every)
        bus = Bus(Endpoint.parse("redis://127.0.0.1:1"), "gotham", "root")  # nobody connects
        hive = None if settings is None else Hive(bus, settings, None, Feeds(bus, settings))
        made.append(Running(listener.getsockname()[1], source, asyncio.get_running_loop(), monitor, hive))
        web = WebServer(make_app(monitor, site or Site(), hive), listener)
        await web.start()
        begun.set()
        await monitor.run()
        at = time.monotonic()
        if hive is not None:
            await hive.close()
        await web.stop()
        made[0].stopped_in = time.monotonic() - at

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert begun.wait(5)
    try:
        yield made[0]
    finally:
        made[0].stop()
        thread.join(10)
        assert not thread.is_alive()
