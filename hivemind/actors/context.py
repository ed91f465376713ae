"""A context: an address, ip and port, with the actors that live there."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from .. import errors
from .engine import Engine
from .mailbox import ANY, Room
from .pid import PID
from .process import Process
from .system import System
from .wire.wire import MAX_BODY, Wire

log = logging.getLogger(__name__)

ANYWHERE = "0.0.0.0"
STOP = 5.0
"""Seconds in which actors have to end when a context is stopped."""
BACKLOG = 512


class Context(System):
    """Listens at ``ip`` and ``port``; actors that are spawned in it are ``name@ip:port``.

    ``ip`` is by default LIBPROCESS_IP, else 0.0.0.0, which is every address of this machine; ``port`` LIBPROCESS_PORT,
    else any that is free. Where others know it by another address, as in a container, LIBPROCESS_ADVERTISE_IP and
    LIBPROCESS_ADVERTISE_PORT say which. ``loop`` is a running one that it is to use instead of a thread of its own.
    ``is_strict``: who sends has to come from the address that it claims.

    It starts with the first actor, or by ``start()``, and ends by ``stop()``; ``with Context() as context:`` does both.
    Raises SocketError where it cannot listen there.
    """

    Error, SocketError = errors.ActorError, errors.SocketError
    InvalidProcess, InvalidMethod = errors.InvalidProcess, errors.InvalidMethod
    _singleton: ClassVar[Context | None] = None
    _one_at_a_time: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        delegate: str = "",
        loop: asyncio.AbstractEventLoop | None = None,
        ip: str | None = None,
        port: int | None = None,
        *,
        is_strict: bool = False,
        max_body: int = MAX_BODY,
    ) -> None:
        wanted_ip, wanted_port = self.get_ip_port(ip, port)
        self._socket = listening(wanted_ip, wanted_port)
        bound: int = self._socket.getsockname()[1]
        shown_ip, shown_port = advertised(os.environ, wanted_ip, bound)
        super().__init__(Engine(f"actors {bound}", loop), shown_ip, shown_port)
        self.delegate = delegate
        self.far = self._wire = Wire(self, is_strict=is_strict, max_body=max_body)
        self._state = threading.Lock()
        self._is_started = self._is_stopped = False
        self._over = threading.Event()
        if wanted_ip in (ANYWHERE, "::"):
            log.info(
                "%s listens on every address of this machine: Context(ip=...) or LIBPROCESS_IP=127.0.0.1 narrows it",
                self,
            )

    @classmethod
    def singleton(cls, delegate: str = "", **how: Any) -> Context:
        """The context of this process, made and started when it is first asked for, or when it was stopped."""
        with cls._one_at_a_time:
            known = Context._singleton
            if known is None or known._is_stopped:
                known = Context._singleton = cls(delegate=delegate, **how)
            elif delegate != known.delegate:
                raise errors.ActorError(f"the context of this process has the delegate {known.delegate!r} already")
            elif any(how.get(name) not in (None, "", getattr(known, name)) for name in ("ip", "port")):
                raise errors.ActorError(f"the context of this process is at {known.ip}:{known.port} already")
        known.start()
        return known

    @staticmethod
    def get_ip_port(ip: str | None = None, port: int | str | None = None) -> tuple[str, int]:
        """Where to listen, by what is given and else by the environment. Raises ActorError for what is no port."""
        ip = ip or os.environ.get("LIBPROCESS_IP") or ANYWHERE
        said = port if port is not None else os.environ.get("LIBPROCESS_PORT") or 0
        return ip, _port(said, "LIBPROCESS_PORT" if port is None else "port")

    @property
    def pid(self) -> PID:
        """The address of its only actor. Raises InvalidProcess where there is none, or several."""
        pids = self.pids
        if len(pids) == 1:
            return pids[0]
        there = ", ".join(map(str, pids[:10])) or "none"
        raise errors.InvalidProcess(f"{self} has not one actor but {len(pids)}: {there}")

    def start(self) -> None:
        """Begin to take messages. May be called again, but not after ``stop``. Raises ActorError then."""
        with self._state:
            if self._is_stopped:
                raise errors.ActorError(f"{self} was stopped: make another one")
            if self._is_started:
                return
            self._is_started = True
            self.engine.start()
        if self.engine.is_here:
            self._serving = self.loop.create_task(self._wire.serve(self._socket))
        else:
            self.engine.wait(self._wire.serve(self._socket))

    def spawn(self, process: Process, *, replace: bool = False, room: Room = ANY) -> PID:
        """Let it live here, and start if that is not done yet. See ``Population.spawn``."""
        self.start()
        return super().spawn(process, replace=replace, room=room)

    def send(self, from_pid: PID, to_pid: PID, method: str, body: bytes | None = None) -> None:
        """Send a message from an actor here, and start if that is not done yet."""
        self.start()
        super().send(from_pid, to_pid, method, body)

    def stop(self, within: float = STOP) -> None:
        """End all actors, the newest first, in so many seconds at most; free the port at once; hang up, so that who is
        linked to somebody here hears of it. From any thread; on that of an actor it returns before all is done. May be
        called twice.
        """
        with self._state:
            was_started, was_stopped = self._is_started, self._is_stopped
            self._is_stopped = True
        if was_stopped:
            self._over.wait(within + 1.0)
        elif not was_started:
            self._socket.close()
            self.loop.close()
            self._over.set()
        else:
            self.call(self._begin_to_stop, within)
            if not self.engine.is_here and not self.is_on_its_thread:
                self._over.wait(within + 1.0)
                self.engine.join(1.0)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is stopped, for so many seconds at most."""
        self._over.wait(timeout)
        self.engine.join(timeout)

    def is_alive(self) -> bool:
        """Whether it was started, and not stopped."""
        return self._is_started and not self._over.is_set()

    def _begin_to_stop(self, within: float) -> None:
        self._stopping = self.loop.create_task(self._stop(within))

    async def _stop(self, within: float) -> None:
        self._wire.listen_no_more()
        await self.end_all(within)
        await self._wire.close()
        self._over.set()
        self.engine.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __str__(self) -> str:
        return f"Context({self.ip}:{self.port})"


def listening(ip: str, port: int) -> socket.socket:
    """A socket that listens there. Raises SocketError that says why it cannot."""
    made: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(ip, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        if made is not None:
            made.close()
        raise errors.SocketError(f"cannot listen at {ip}:{port}: {error.strerror or error}") from error
    return made


def advertised(environ: Mapping[str, str], ip: str, port: int) -> tuple[str, int]:
    """The address that others are told."""
    said = environ.get("LIBPROCESS_ADVERTISE_IP", "")
    port = _port(environ.get("LIBPROCESS_ADVERTISE_PORT") or port, "LIBPROCESS_ADVERTISE_PORT")
    return said or (_own_ip() if ip == ANYWHERE else "::1" if ip == "::" else ip), port


def _own_ip() -> str:
    """An address of this machine that others may reach; the loopback's where there is none."""
    try:
        found = socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
    return found


def _port(said: int | str, what: str) -> int:
    try:
        port = int(said)
    except ValueError:
        port = -1
    if not 0 <= port <= 65_535:
        raise errors.ActorError(f"{what}: {said!r} is no port: write a number from 0 to 65535")
    return port
