"""A network that misbehaves on demand, between a client and a server on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self


class Mode(Enum):
    """What happens to bytes. It changes at once, for open connections too."""

    PASS = auto()  # delivered
    BLACKHOLE = auto()  # held back both ways, delivered late once it passes again; connecting works
    EAT_REPLIES = auto()  # requests arrive, replies are lost for good: reset or cut afterwards
    RESET = auto()  # open connections are reset, new ones too


class Proxy:
    """Listens on a free port of the loopback and passes on to a unix socket or a port of the loopback.

    ``latency`` is in seconds each way, ``rate`` in bytes of replies a second (0: as fast as it goes). With ``tls``,
    clients speak TLS and the server does not. It is an async context manager: ``async with Proxy(server.socket) as
    proxy: ... f"redis://127.0.0.1:{proxy.port}"``.

    A connection on which one of the words ``cut_on`` was asked is reset when the answer comes, which is lost.
    """

    def __init__(
        self, target: Path | int, *, latency: float = 0.0, rate: float = 0.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.target, self.latency, self.rate, self.tls = target, latency, rate, tls
        self.mode = Mode.PASS
        self.port = 0
        self.accepted = self.eaten = self.cuts = 0  # connections; bytes of replies; connections that were reset
        self.cut_on: tuple[bytes, ...] = ()
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    def set(self, mode: Mode) -> None:
        """Change what happens to bytes from now on."""
        self.mode = mode
        if mode is Mode.BLACKHOLE:
            self._passing.clear()
        else:
            self._passing.set()
        if mode is Mode.RESET:
            self.cut()

    def cut(self) -> None:
        """Reset every open connection; new ones are as the mode says."""
        for writer in tuple(self._open):
            _reset(writer)

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in tuple(self._open):  # whose task was cancelled before it could close them
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.mode is Mode.RESET:
            _reset(writer)
            return
        self._open.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            _reset(writer)
            self._open.discard(writer)
            return
        self._open.add(far_writer)
        doomed = asyncio.Event()
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, doomed, replies=False)),
            asyncio.create_task(self._pump(far_reader, writer, doomed, replies=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, far_writer):
                end.close()
                with contextlib.suppress(OSError, ssl.SSLError):
                    await end.wait_closed()
            self._open -= {writer, far_writer}

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection("127.0.0.1", self.target)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event, *, replies: bool
    ) -> None:
        """Pass bytes one way until an end closes, or what answers a word of ``cut_on`` comes; each chunk travels
        ``latency`` seconds, chunks overlap.
        """
        loop = asyncio.get_running_loop()
        travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, chunk = await travelling.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                await self._passing.wait()
                if not chunk:
                    return
                if replies and self.mode is Mode.EAT_REPLIES:
                    self.eaten += len(chunk)
                elif replies and doomed.is_set():
                    self.cuts += 1
                    _reset(writer)
                    return
                else:
                    if not replies and any(word in chunk for word in self.cut_on):
                        doomed.set()
                    writer.write(chunk)
                    await writer.drain()
                if replies and self.rate:
                    await asyncio.sleep(len(chunk) / self.rate)

        async def collect() -> None:
            chunk = b"?"
            while chunk:
                await self._passing.wait()
                chunk = await reader.read(65536)
                travelling.put_nowait((loop.time() + self.latency, chunk))

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(collect())
                tasks.create_task(deliver())
        except* (OSError, ssl.SSLError):
            pass  # an end closed: so does this connection


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST, as a host that lost its state does."""
    ours = writer.get_extra_info("socket")
    if ours is not None and ours.family == socket.AF_INET:
        with contextlib.suppress(OSError):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
