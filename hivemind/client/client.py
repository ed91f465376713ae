"""A client for scripts and web applications: on the bus, but no node, so nothing of it is registered or watched."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..bus.inbox import InboxLimits
from ..bus.receiving import LiveSubscription
from ..errors import HivemindError
from ..node.carrying import carried, carrying, with_carried
from ..node.middleware import Outgoing
from ..node.requesting import Requesting
from ..node.runner import ensure_redis, new_loop
from ..retention import Tier, check_tier
from ..settings import find_hive, load_settings
from .awaited import AsyncClient
from .messages import Messages
from .session import Session, Where

log = logging.getLogger("hivemind.client")

T = TypeVar("T")
PATIENCE = 10.0  #: seconds that a client waits for Redis when it is opened; a node would wait for ever


def connect(where: str | Path | None = None, *, timeout: float = PATIENCE, confirm: str | None = None) -> Client:
    """Return a client of the hive at ``where``: a Redis URL (``redis://host?hive=gotham``; without ``hive`` it is the
    hive ``default``), a hive's folder, or None for the hive around the current folder.

    ``with connect() as hive:`` gives blocking methods, ``async with`` awaitable ones. Without either it opens when it
    is first used, in each process that uses it, for blocking methods from any thread, and is flushed and closed when
    the process exits. Opening it raises RedisUnavailable after ``timeout`` seconds without Redis, and RedisDenied when
    the password is wrong. ``confirm`` says what Redis has done with a kept message when ``flush`` returns; without it
    that is the hive's CONFIRM. ::

        with hivemind.connect() as hive:
            hive.send("bat-signal-main", "Batman! We need help!")
            hive.flush()
    """
    tier = None if confirm is None else check_tier(confirm)
    return Client(lambda: _resolve(where, tier), timeout)


def _resolve(where: str | Path | None, tier: Tier | None) -> Where:
    if isinstance(where, str) and "://" in where:
        endpoint = Endpoint.parse(where)
        return Where(endpoint, endpoint.hive, tier or Tier.SECOND)
    settings = load_settings(
        find_hive(Path.cwd(), None if where is None else str(where), os.environ, "connect: folder")
    )
    endpoint = Endpoint.parse(ensure_redis(settings), settings.var)
    return Where(endpoint, settings.name, tier or check_tier(settings.constants.CONFIRM))


class Client(Requesting):
    """Sends to a hive, asks it, and subscribes to it. Built by ``connect``. Used from any thread."""

    def __init__(self, resolve: Callable[[], Where], timeout: float = PATIENCE) -> None:
        self._resolve, self._timeout = resolve, timeout
        self._inherited: list[object] = []
        self._start_anew()
        _clients.add(self)

    def _start_anew(self) -> None:
        """Nothing is open in this process. What the process had that we were forked from is kept, and left alone: the
        connections are that one's.
        """
        self._inherited.append(vars(self).copy())
        self._session: Session | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._thread: threading.Thread | None = None
        self._opening = threading.Lock()
        self._is_over = False

    @property
    def bus(self) -> Bus:
        """The connection. Raises HivemindError when it was closed, and on a loop outside of ``async with``."""
        return self._opened.bus

    @property
    def _opened(self) -> Session:
        self.make_ready()
        assert self._session is not None
        return self._session

    def send(
        self, topic: str, payload: Any, *, durable: bool = False, headers: Mapping[str, str] | None = None
    ) -> None:
        """Hand a message over. What is sent on a topic that the hive keeps is kept, as its services do; with
        ``durable`` it is in any case, until every group that reads it has handled it.

        Raises PayloadError and InvalidName; on the loop OutboxFull: await ``drain()``.
        """
        self._opened.posting.send(topic, payload, with_carried(headers), durable=durable)

    @contextmanager
    def carrying(self, headers: Mapping[str, str] | None = None, /, **more: str) -> Iterator[None]:
        """Let all that is sent, or asked, inside carry these headers, too."""
        with carrying({**carried(), **(headers or {}), **more}):
            yield

    def drain(self) -> None:
        """Wait until there is room for more; awaited under ``async with``."""
        return self.bridge(self.bus.drain())

    def flush(self, timeout: float = 10.0) -> None:
        """Return when Redis has confirmed what was sent; awaited under ``async with``. Raises Refused, and Unconfirmed
        after ``timeout`` seconds.
        """
        return self.bridge(self._opened.posting.flush(timeout))

    def subscribe(
        self, pattern: str, *, raw: bool = False, since: str | int = "new", limits: InboxLimits | None = None
    ) -> Messages:
        """What is sent from now on and matches ``pattern``: use it in ``with`` (or ``async with``) and iterate.

        Before that comes what is kept ``since``: "all", a span such as "10m", or so many messages of each topic.
        """
        return Messages(self, LiveSubscription(pattern, limits=limits, raw=raw, since=since))

    async def listen(self, live: LiveSubscription) -> None:
        """Subscribe; what passes by on topics that are kept is filled in. Raises RedisDenied, RedisUnavailable."""
        await self._opened.listen(live)

    # -- opening and closing

    async def open(self) -> None:
        """Connect, on the running loop. Raises RedisDenied, RedisUnavailable."""
        where = await asyncio.to_thread(self._resolve)
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        session = Session(where)
        await session.open(self._timeout)
        self._session = session

    async def aclose(self) -> None:
        """Disconnect. What was not flushed may be lost. May be called twice."""
        session, self._session, self._is_over = self._session, None, True
        if session is not None:
            await session.aclose()

    @property
    def awaited(self) -> AsyncClient:
        """The same client, as type checkers have to see it on the event loop."""
        return cast(AsyncClient, self)

    async def __aenter__(self) -> AsyncClient:
        await self.open()
        return self.awaited

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._opened.posting.flush(self._timeout)
        finally:
            await self.aclose()

    def __enter__(self) -> Self:
        with self._opening:
            self._open_on_thread()
        return self

    def make_ready(self) -> None:
        """Open, if nobody has. Raises HivemindError when it was closed, and on a loop outside of ``async with``."""
        if self._session is not None:
            return
        if self._is_over:
            raise HivemindError("the client is closed: use it inside of `with connect() as hive:`")
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise HivemindError("the client is not open: on an event loop write `async with connect() as hive:`")
        with self._opening:
            if self._session is None:
                self._open_on_thread()
                atexit.register(self.close)

    def close(self) -> None:
        """Flush and disconnect, if it opened by itself; what cannot be confirmed is logged. May be called twice."""
        if self._thread is not None and self._session is not None:
            try:
                self.call(self._opened.posting.flush(self._timeout))
            except HivemindError as error:
                log.error("not everything that was sent has arrived: %s", error)
            self.call(self.aclose())
            self._end_loop()

    def _open_on_thread(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run_loop, args=(ready,), name="hivemind client", daemon=True)
        self._thread.start()
        ready.wait()
        try:
            self.call(self.open())
        except BaseException:
            self._end_loop()  # the next who uses it tries again
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.call(self.__aexit__(kind, error, trace))
        finally:
            self._end_loop()

    def refuse_to_block(self, word: str) -> None:
        """Be open, and elsewhere than on our own loop, which would wait for itself: there it raises HivemindError,
        which says that ``word`` is to be written.
        """
        self.make_ready()
        if threading.get_ident() == self._loop_thread:
            raise HivemindError(f"this would block the event loop: under `async with connect()` write `{word}`")

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the client's loop and return its result; not from that loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def bridge(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return ``coroutine`` to be awaited under ``async with``; under ``with`` run it and return its result.

        The type is that under ``with``; ``awaited`` has the other.
        """
        return cast(T, coroutine) if threading.get_ident() == self._loop_thread else self.call(coroutine)

    def outgoing(
        self,
        name: str,  # noqa: ARG002 - nodes have middleware, which wants it
        payload: Any,
        headers: Mapping[str, str] | None,
    ) -> Outgoing:
        """A request with the headers that travel along."""
        return payload, with_carried(headers), None

    def _hm_rim(self) -> Self:
        return self

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


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _forked() -> None:
    for client in list(_clients):
        client._start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
