"""Instances in a hive that resolves its patterns: registered, but without a node around them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import jinja2
import orjson
from starlette.requests import Request

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.outgoing import OutboxOptions
from hivemind.data.records import About, Stats
from hivemind.data.registry import Registry
from hivemind.data.resolution import Resolution
from hivemind.patterns import RESOLVED
from hivemind.picture.monitor import Monitor
from hivemind.picture.snapshot import Snapshot
from hivemind.picture.state import State
from hivemind.root.app import Machines
from hivemind.root.pages import Hive, Visit
from hivemind.root.pages.docs import Docs
from hivemind.root.pages.topics import Topics
from hivemind.root.serving import Pages
from hivemind.root.talking import Talking
from hivemind.testing import HiveTest

from .bus_kit import on_bus
from .root_kit import FakeSource
from .servers import RedisServer

LEASE = 60.0


class Resident:
    """One registered instance: its bus, and both halves of resolved patterns."""

    def __init__(self, bus: Bus, hive: str) -> None:
        self.bus, self.hive = bus, hive
        self.registry = Registry(bus.commands, bus.functions, bus.names, "resolved")
        self.resolution = Resolution(bus)
        self.about = About("node", "here", 1, time.time(), LEASE)

    async def join(self, topics: Sequence[str]) -> None:
        """Register, and begin."""
        self.bus.identify(self.bus.instance, await self.registry.register(self.bus.instance, self.about, Stats()))
        self.resolution.start(topics)

    async def join_again(self) -> None:
        """Register the same life once more, as a heart does when Redis has lost its data."""
        await self.registry.register_again(self.bus.instance, self.bus.incarnation, self.about, Stats())
        self.resolution.again()

    async def leave(self) -> None:
        """Say goodbye."""
        await self.registry.deregister(self.bus.instance, self.bus.incarnation)


@contextlib.asynccontextmanager
async def resident(
    url: str, hive: str, instance: str, topics: Sequence[str] = (), *, outbox: OutboxOptions | None = None
) -> AsyncIterator[Resident]:
    """An instance of ``hive`` that sends on ``topics``, and on others as it likes."""
    async with on_bus(url, instance, hive, outbox=outbox) as bus:
        made = Resident(bus, hive)
        await made.join(topics)
        yield made
        await made.resolution.stop()


def patterns_in(server: RedisServer) -> int:
    """How many patterns Redis walks at every PUBLISH."""
    return int(server.command("PUBSUB", "NUMPAT"))


def stored(server: RedisServer, hive: str, what: str) -> dict[str, str]:
    """One of the hashes of the directory."""
    flat = server.command("HGETALL", f"hm:{{{hive}}}:{what}")
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def on_the_root(url: str, resolved: HiveTest) -> list[list[str]]:
    """Which announced topics two pages and two addresses for programs have."""
    monitor = Monitor(FakeSource(), resolved.settings.name, url)
    monitor.snapshot = Snapshot(resolved.settings.name, url, 1.0, state=State(patterns=RESOLVED))
    async with Bus(Endpoint.parse(url), resolved.settings.name, "root.0") as bus:
        hive, asked = Hive(bus, resolved.settings), Request({"type": "http"})
        visit = Visit(monitor.snapshot, 1.0, hive=hive)
        trees = [(await Docs().tree(visit))["lists"]["channels"], (await Topics().tree(visit))["lists"]["topics"]]
        document = orjson.loads((await Machines(monitor, hive).docs(asked)).body)
        pages = Pages(monitor, jinja2.Environment(autoescape=True), dict, hive)
        listed = orjson.loads((await Talking(monitor, pages, hive).topics(asked)).body)
    found = [[one["key"].removeprefix("topic/") for one in tree] for tree in trees]
    found += [list(document["channels"]), [one["topic"] for one in listed["topics"]]]
    return [[name for name in names if name not in ("heard", "n.typed")] for names in found]
