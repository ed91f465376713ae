"""A client for scripts and web applications: on the bus, but no node, so nothing of it is registered or watched."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..bus.inbox import InboxLimits
from ..bus.receiving import LiveSubscription
from ..data.kept_watch import KeptWatch
from ..data.onlooker import Onlooker
from ..data.responders import Responders
from ..errors import HivemindError, RedisDenied, RedisUnavailable
from ..message import Message
from ..settings import find_hive, load_settings
from ..states import LinkState
from .requesting import Requesting
from .runner import ensure_redis, new_loop

PATIENCE = 10.0  #: seconds that a client waits for Redis when it is opened; a node would wait for ever


def connect(where: str | Path | None = None, *, timeout: float = PATIENCE) -> Client:
    """Return a client of the hive at ``where``: a Redis URL (``redis://host?hive=gotham``; without ``hive`` it is the
    hive ``default``), a hive's folder, or None for the hive around the current folder.

    ``with connect() as hive:`` gives blocking methods, ``async with`` awaitable ones. Opening it raises
    RedisUnavailable after ``timeout`` seconds without Redis, and RedisDenied when the password is wrong. ::

        with hivemind.connect() as hive:
            hive.send("bat-signal-main", "Batman! We need help!")
            hive.flush()
    """
    return Client(lambda: _resolve(where), timeout)


def _resolve(where: str | Path | None) -> tuple[Endpoint, str]:
    if isinstance(where, str) and "://" in where:
        endpoint = Endpoint.parse(where)
        return endpoint, endpoint.hive
    settings = load_settings(find_hive(Path.cwd(), None if where is None else str(where), os.environ))
    return Endpoint.parse(ensure_redis(settings)), settings.name


class Client(Requesting):
    """Sends to a hive, asks it, and subscribes to it. Built by ``connect``."""

    def __init__(self, resolve: Callable[[], tuple[Endpoint, str]], timeout: float = PATIENCE) -> None:
        self._resolve, self._timeout = resolve, timeout
        self._bus: Bus | None = None
        self._onlooker: Onlooker | None = None
        self._kept_watch: KeptWatch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._thread: threading.Thread | None = None

    @property
    def bus(self) -> Bus:
        """The connection; raises HivemindError outside of ``with``."""
        if self._bus is None:
            raise HivemindError("the client is not open: use it in `with connect() as hive:`")
        return self._bus

    def send(self, topic: str, payload: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """Hand a message over. Raises PayloadError and InvalidName; on the loop OutboxFull: await ``drain()``."""
        self.bus.send(topic, payload, headers)

    def drain(self) -> Any:
        """Wait until there is room for more; awaited under ``async with``."""
        return self.bridge(self.bus.drain())

    def flush(self, timeout: float = 10.0) -> Any:
        """Return when Redis has confirmed what was sent; awaited under ``async with``. Raises Refused, Unconfirmed."""
        return self.bridge(self.bus.flush(timeout))

    def subscribe(
        self, pattern: str, *, raw: bool = False, since: str | int = "new", limits: InboxLimits | None = None
    ) -> Messages:
        """What is sent from now on and matches ``pattern``: use it in ``with`` (or ``async with``) and iterate.

        Before that comes what is kept ``since``: "all", a span such as "10m", or so many messages of each topic.
        """
        return Messages(self, LiveSubscription(pattern, limits=limits, raw=raw, since=since))

    async def listen(self, live: LiveSubscription) -> None:
        """Subscribe; what passes by on topics that are kept is filled in. Raises RedisDenied, RedisUnavailable."""
        if self._kept_watch is None:
            self._kept_watch = KeptWatch(self.bus)
            self._kept_watch.start()
        await self.bus.subscribe(live)

    # -- opening and closing

    async def open(self) -> None:
        """Connect, on the running loop."""
        endpoint, hive = await asyncio.to_thread(self._resolve)
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._bus = bus = Bus(endpoint, hive, f"client-{secrets.token_hex(4)}.0")
        bus.requests.lives = Responders(bus.commands, bus.names)
        bus.start()
        try:
            async with asyncio.timeout(self._timeout):
                state = await bus.outbox.link.wait(LinkState.UP, LinkState.DENIED)
                if state is LinkState.DENIED:
                    raise RedisDenied(f"{endpoint.redacted}: {bus.outbox.link.last_error}")
                bus.identify(bus.instance, int(await bus.now()))  # by Redis's clock, as a node's incarnation
                self._onlooker = Onlooker(bus)
                await self._onlooker.start()
        except TimeoutError:
            await self.aclose()
            raise RedisUnavailable(f"{endpoint.redacted}: no answer within {self._timeout:g} s") from None
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Disconnect. What was not flushed may be lost. May be called twice."""
        if self._bus is not None:
            bus, self._bus = self._bus, None
            if self._onlooker is not None:
                await self._onlooker.stop()
            if self._kept_watch is not None:
                await self._kept_watch.stop()
                self._kept_watch = None
            await bus.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.bus.flush(self._timeout)
        finally:
            await self.aclose()

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run_loop, args=(ready,), name="hivemind client", daemon=True)
        self._thread.start()
        ready.wait()
        try:
            self.call(self.open())
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.call(self.__aexit__(kind, error, trace))
        finally:
            self._end_loop()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run ``coroutine`` on the client's loop and return its result; not from that loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def bridge(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return ``coroutine`` to be awaited under ``async with``; under ``with`` run it and return its result."""
        return coroutine if threading.get_ident() == self._loop_thread else self.call(coroutine)

    def _run_loop(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            self._loop = runner.get_loop()
            self._loop_thread = threading.get_ident()
            self._loop.call_soon(ready.set)
            self._loop.run_forever()

    def _end_loop(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None


class Messages:
    """A client's subscription: an iterator, blocking or asynchronous, of messages."""

    def __init__(self, client: Client, live: LiveSubscription) -> None:
        self.client, self.live = client, live

    async def open(self) -> None:
        """Subscribe; returns when Redis has confirmed. Raises RedisDenied."""
        await self.client.listen(self.live)

    async def next(self, timeout: float | None = None) -> Message | None:
        """The next message; None after ``timeout`` seconds, or when the subscription is closed."""
        try:
            async with asyncio.timeout(timeout):
                if not await self.live.inbox.wait():
                    return None
        except TimeoutError:
            return None
        entry = self.live.inbox.take()
        assert entry is not None
        return Message(entry[0], entry[2], entry[1])

    def receive(self, timeout: float | None = None) -> Message | None:
        """The same for blocking clients."""
        message: Message | None = self.client.call(self.next(timeout))
        return message

    async def aclose(self) -> None:
        """Unsubscribe. May be called twice."""
        self.client.bus.live.remove(self.live)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = await self.next()
        if message is None:
            raise StopAsyncIteration
        return message

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        message = self.receive()
        if message is None:
            raise StopIteration
        return message

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        self.client.call(self.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.call(self.aclose())
