"""The processes of the soak: a Redis, a network that misbehaves on demand, and nodes that are begun and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .proxy import Proxy
from .servers import Kind, RedisServer, find_server, installed
from .soak_books import Finding
from .soak_nodes.diary import FOLDER

HIVE = "soak"
NODES = Path(__file__).parent / "soak_nodes"
SENDERS = ("north", "south", "east")
READERS = ("shop.0", "shop.1", "shop.2", "books.0")
FAR = ("south", "shop.1", "books.0")  # these reach Redis through a network that misbehaves


class Failed(Exception):
    """The soak cannot go on."""


@dataclass(slots=True)
class Member:
    """One node, whichever process it is now."""

    instance: str
    process: subprocess.Popen[bytes] | None = None
    lives: int = 0


class Network:
    """A proxy on a loop of its own."""

    def __init__(self, target: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.proxy = Proxy(target)
        self.do(self.proxy.__aenter__())

    def do(self, what: Coroutine[Any, Any, Any]) -> None:
        """Run it there, and wait."""
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    def call(self, what: Callable[..., None], *arguments: Any) -> None:
        """Call it there."""
        self._loop.call_soon_threadsafe(what, *arguments)

    def close(self) -> None:
        """Close it."""
        self.do(self.proxy.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Crew:
    """All processes of a soak in ``folder``. Whoever runs it makes ``network`` when the server is up, and closes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.diaries = folder / "diaries"
        self.diaries.mkdir()
        binary = find_server((installed() or [Kind.VALKEY])[0])
        assert binary is not None, "no Redis server is installed"
        self.server = RedisServer(binary, lines=["appendfsync always"])
        self.findings: list[Finding] = []
        self.members = {name: Member(name) for name in (*(f"{one}.0" for one in SENDERS), *READERS)}
        self.network: Network

    def begin(self, name: str) -> None:
        """Begin a life of a member."""
        member = self.members[name]
        node, _, number = name.partition(".")
        file = NODES / ("till.py" if node in SENDERS else "shop.py")
        url = f"redis://127.0.0.1:{self.network.proxy.port}" if {name, node} & {*FAR} else self.server.url
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        environ |= {"HIVEMIND_REDIS_URL": url, "HIVEMIND_HIVE_NAME": HIVE, FOLDER: str(self.diaries)}
        command = [sys.executable, "-m", "hivemind.node", str(file), "--name", node, "--number", number]
        with (self.folder / f"{name}.log").open("ab") as log:
            member.process = subprocess.Popen(
                command, cwd=self.folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        member.lives += 1

    def signal(self, name: str, number: int) -> None:
        """Send it a signal."""
        process = self.members[name].process
        assert process is not None
        if process.poll() is not None:
            raise Failed(f"{name} ended by itself, with {process.returncode}")
        process.send_signal(number)

    def end(self, name: str) -> int:
        """Kill it, and wait until it is gone."""
        process = self.members[name].process
        assert process is not None
        self.signal(name, signal.SIGKILL)
        return process.wait(10)

    def stop(self, names: Sequence[str]) -> None:
        """Let them end politely."""
        for name in names:
            self.signal(name, signal.SIGTERM)
        codes = {}
        for name in names:
            process = self.members[name].process
            assert process is not None
            with suppress(subprocess.TimeoutExpired):
                codes[name] = process.wait(20)
        wrong = tuple(f"{name}: {codes.get(name)}" for name in names if codes.get(name) != 0)
        self.findings.append(Finding(f"{', '.join(names)} end when asked", not wrong, f"exit codes {codes}", wrong))

    def end_all(self) -> None:
        """Kill whatever is left."""
        for member in self.members.values():
            if member.process is not None and member.process.poll() is None:
                member.process.kill()
                member.process.wait(10)
