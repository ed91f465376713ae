"""The servers that are measured through: a Redis of its own for each measurement; nats-server where there is one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psutil
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from hivemind.testing import TestServer

from .window import wait_until

Kind = Literal["redis", "always", "nats", "jetstream", "zmq"]  #: always: Redis, with appendfsync always


class Missing(Exception):
    """What a measurement needs is not installed here."""


class RedisServer:
    """A Redis server on a unix socket, with nothing in it; it can be killed, and started again at the same place."""

    def __init__(self) -> None:
        self._server = TestServer()
        self._again: subprocess.Popen[bytes] | None = None
        self._program = Path()
        self.url = ""
        self.pid = 0

    def __enter__(self) -> Self:
        try:
            self.url = self._server.__enter__().url
            self.pid = int(self.info()["process_id"])
        except BaseException:
            self._server.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._again is not None:
            self._again.terminate()
            self._again.wait()
        self._server.__exit__(kind, error, trace)

    def info(self) -> dict[str, Any]:
        """What the server says of itself."""
        with Redis.from_url(self.url) as redis:
            found: dict[str, Any] = redis.info()
            return found

    def configure(self, **settings: str) -> None:
        """Set what its configuration says."""
        with Redis.from_url(self.url) as redis:
            for name, value in settings.items():
                redis.config_set(name.replace("_", "-"), value)

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            return bool(self.info())
        except (RedisConnectionError, OSError):
            return False

    def kill(self) -> None:
        """Kill it; ``revive`` starts the same program again."""
        self._program = Path(psutil.Process(self.pid).exe())
        os.kill(self.pid, signal.SIGKILL)
        wait_until("Redis is gone", lambda: not self.answers(), 5)

    def revive(self) -> None:
        """Start again what was killed."""
        folder = Path(self.url.removeprefix("unix://")).parent
        self._again = subprocess.Popen(
            ["redis-server", str(folder / "redis.conf")],  # on Debian the program does what it is called as
            executable=self._program,
            env={**os.environ, "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._again.pid
        wait_until("Redis is back", self.answers, 10)


def nats_server() -> str | None:
    """The program, if it is on PATH."""
    return shutil.which("nats-server")


@contextmanager
def nats(store: Path | None = None) -> Iterator[str]:
    """A nats-server on loopback, at the URL that is given; with JetStream, if it has a folder to ``store`` in."""
    program = nats_server()
    if program is None:
        raise Missing("nats-server is not on PATH")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--addr", "127.0.0.1", "--port", str(port)]
    command += ["-js", "-sd", str(store)] if store else []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until("nats-server answers", lambda: _listens(port), 10)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
