"""The web server: uvicorn inside a loop that belongs to somebody else. Nobody else imports uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .slowing import network_of

__all__ = ["WebServer"]

CONNECTIONS = 300
"""Connections at once, more than there can be viewers, so that these cannot lock out ``/healthz``; beyond it: 503."""
MOST_OPEN = CONNECTIONS + 50
"""Connections that are open at all; whoever comes then is hung up on, so that file descriptors do not run out."""
MOST_OF_ONE = 200
"""Connections of one address elsewhere: one machine alone does not keep all others from the page."""
HERE = frozenset(map(network_of, ("127.0.0.1", "::1")))
"""Who may have all: the people of this machine, and a proxy on it, behind which anybody is."""
LOOK, STUCK = 10.0, 3
"""A connection that has not taken what it was sent at STUCK looks in a row is cut; LOOK seconds lie between two."""
GRACE = 2
"""Seconds that open requests have when the server stops; event streams end by themselves at once."""


class WebServer:
    """The application on a socket that somebody bound, inside the running loop; signals are left alone.

    ``stop`` returns within about two seconds, whatever the clients do; close the monitor first, so that the event
    streams end by themselves. Both may be called twice.
    """

    def __init__(self, app: Callable[..., Any], listener: socket.socket) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS,
                h11_max_incomplete_event_size=16 * 1024,
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve; returns when connections are accepted."""
        if self._serving is None:
            self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="web")
            begun = asyncio.create_task(self._server.begun.wait())
            await asyncio.wait({begun, self._serving}, return_when=asyncio.FIRST_COMPLETED)
            begun.cancel()
            if self._serving.done():
                self._serving.result()

    async def stop(self) -> None:
        """Stop serving, and close the socket."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait({self._serving}, timeout=GRACE + 1)
            self._serving.cancel()
        self._listener.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the node's runner owns signals. ``begun`` says that it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """HTTP that gives a request's head a deadline, and who takes no answer an end: uvicorn waits for both for ever."""

    DEADLINE = 10.0  # seconds for a request's head, from its first byte or from the connection's beginning

    _overdue: asyncio.TimerHandle | None = None
    _looking: asyncio.TimerHandle | None = None
    _stuck = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in h11_impl
        super().connection_made(transport)
        if len(self.connections) > MOST_OPEN or self._has_many():
            transport.abort()
            return
        self._expect()
        self._looking = self.loop.call_later(LOOK, self._look)

    def data_received(self, data: bytes) -> None:
        self._expect()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle()
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def _has_many(self) -> bool:
        """Whether the address that this came from has more connections than are for one."""
        if self.client is None or len(self.connections) <= MOST_OF_ONE:
            return False
        own = network_of(self.client[0])
        if own in HERE:
            return False
        others = (one.client for one in self.connections if isinstance(one, _Protocol) and one.client is not None)
        return sum(network_of(host) == own for host, _ in others) > MOST_OF_ONE

    def _look(self) -> None:
        """Cut who has let an answer lie for too long, also one that we have closed and that cannot be got rid of."""
        self._stuck = self._stuck + 1 if self.transport.get_write_buffer_size() else 0
        if self._stuck >= STUCK:
            self.transport.abort()
        else:
            self._looking = self.loop.call_later(LOOK, self._look)

    def _expect(self) -> None:
        if self._overdue is None and self.conn.their_state is h11.IDLE:
            self._overdue = self.loop.call_later(self.DEADLINE, self.transport.close)

    def _settle(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
