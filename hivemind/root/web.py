"""The page as a part of the root's node: on its loop, fed by its registry, from before it is registered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from ..cancelling import end
from ..data.registry import NOTICES, told_of
from ..node.base import BaseNode
from ..picture.monitor import Monitor
from ..picture.source import HiveSource
from .address import AddressFile, listen, url_of
from .app import Site, make_app
from .crashes import Crashes
from .errands import Errands
from .feeds import Feeds
from .pages import Hive
from .server import WebServer


class Web:
    """A component that serves the page. The port is bound when it is built, so that ``url`` is known at once.

    ``begin`` serves as soon as the node has a loop: the page is there also while the node still looks for Redis.
    Stop order: the monitor (which ends the event streams), what waits for hiveds and follows logs, the server, the
    address file.
    """

    def __init__(self, port: int, host: str, address: AddressFile, site: Callable[[], Site]) -> None:
        self._listener: socket.socket = listen(port, host)
        self._wanted, self._address, self._site = port, address, site
        self.url = url_of(self._listener)
        self._monitor: Monitor | None = None
        self._watching: asyncio.Task[None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._server: WebServer | None = None
        self._hive: Hive | None = None

    def begin(self, node: BaseNode) -> None:
        """Watch the registry and serve, in the background. On the loop."""
        if self._wanted and not self.url.endswith(f":{self._wanted}"):
            node.logger.warning("port %d is taken", self._wanted)
        node.logger.info("the page of %s is at %s", node.settings.name, self.url)
        redis, every = node.bus.endpoint.redacted, node.settings.constants.HEARTBEAT
        self._monitor = Monitor(
            HiveSource(node.bus, node.registry, node.settings), node.settings.name, redis, every=every
        )
        errands = Errands(node.bus.endpoint, node.settings, self._monitor.notice)
        crashes = Crashes(node.bus.endpoint, node.settings)
        self._hive = Hive(node.bus, node.settings, errands, Feeds(node.bus, node.settings), crashes)
        self._server = WebServer(make_app(self._monitor, self._site(), self._hive), self._listener)
        self._watching = asyncio.create_task(self._monitor.run(), name="monitor")
        self._serving = asyncio.create_task(self._serve(node, self._server), name="page")

    async def start(self, node: BaseNode) -> None:
        """Return when the page is served; read the registry at every notice from now on. Raises what hinders it."""
        if self._serving is None:
            self.begin(node)
        assert self._serving is not None
        await self._serving
        node.bus.live.listen(node.bus.names.control(NOTICES), self._notice)

    async def stop(self, _node: BaseNode) -> None:
        """Stop serving, within about two seconds. May be called twice."""
        if self._monitor is not None:
            self._monitor.close()
        if self._hive is not None:
            await self._hive.close()
        if self._server is not None:
            await self._server.stop()
        await end(self._watching)
        self.close()

    def close(self) -> None:
        """Give up the port and the address file. May be called twice, and without a loop."""
        self._listener.close()
        with suppress(OSError):
            self._address.remove(self.url)

    async def _serve(self, node: BaseNode, server: WebServer) -> None:
        await server.start()
        try:
            self._address.write(self.url)
        except OSError as error:
            node.logger.warning("the page's address cannot be written to %s: %s", self._address.path, error)

    def _notice(self, body: bytes) -> None:
        if self._monitor is not None:
            self._monitor.notice(told_of(body))
