"""Real Sentinels for tests: any of the servers, started as one; and what three of them watch over."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from .servers import RedisServer
from .waiting import eventually


class SentinelServer(RedisServer):
    """A Sentinel that watches over a primary; knows it as ``main``.

    So many as ``quorum`` have to find that it is down, after ``down_after`` milliseconds.
    """

    def __init__(
        self, primary: RedisServer, lines: tuple[str, ...] = (), *, quorum: int = 1, down_after: int = 500
    ) -> None:
        super().__init__(primary.binary, tcp=True, lines=lines)
        self.primary_port, self.quorum, self.down_after = primary.port, quorum, down_after

    def start(self) -> Self:
        self._write_config()
        command = [str(self.binary), str(self.folder / "redis.conf"), "--sentinel"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self.answers, within=10.0)
        return self

    def knows(self, what: str) -> int:
        """How many ``REPLICAS`` or further ``SENTINELS`` it knows."""
        return len(self.command("SENTINEL", what, "main"))

    def primary(self) -> int:
        """The port of the server that it takes for the primary."""
        return int(self.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])

    def _write_config(self) -> None:
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            f"dir {self.folder}",
            f"sentinel monitor main 127.0.0.1 {self.primary_port} {self.quorum}",
            f"sentinel down-after-milliseconds main {self.down_after}",
            "sentinel failover-timeout main 3000",
            *self.lines,
        )
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n")


class Guarded:
    """A primary, two replicas, and three Sentinels that promote one of these when it is down; all on the loopback."""

    def __init__(self, binary: Path, *, down_after: int = 1000) -> None:
        self.servers = [RedisServer(binary, tcp=True, lines=("repl-diskless-sync-delay 0",)) for _ in range(3)]
        self.sentinels = [SentinelServer(self.servers[0], quorum=2, down_after=down_after) for _ in range(3)]

    @property
    def url(self) -> str:
        """How a hive names it."""
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels) + "/main"

    @property
    def primaries(self) -> list[RedisServer]:
        """Those that answer, and take themselves for the primary."""
        return [one for one in self.servers if one.process is not None and _role(one) == "master"]

    def start(self) -> Self:
        """Start all, and return when everybody knows everybody."""
        first, *replicas = self.servers
        for server in self.servers:
            server.start()
        for replica in replicas:
            replica.command("REPLICAOF", "127.0.0.1", first.port)
        eventually(lambda: f"{len(replicas)}" == _fact(first, "connected_slaves"), within=20.0)
        for sentinel in self.sentinels:
            sentinel.start()
        eventually(lambda: all(one.knows("REPLICAS") == one.knows("SENTINELS") == 2 for one in self.sentinels), 30.0)
        return self

    def promoted(self, old: RedisServer, within: float = 30.0) -> RedisServer:
        """Return, as soon as it is so, who was made primary in the place of ``old``."""
        others = [one for one in self.servers if one is not old]
        return eventually(lambda: next((one for one in others if _role(one) == "master"), None), within)  # type: ignore[return-value]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for one in (*self.sentinels, *self.servers):
            one.close()


def _role(server: RedisServer) -> str:
    try:
        return str(server.command("ROLE", timeout=0.2)[0])
    except OSError:
        return ""


def _fact(server: RedisServer, name: str) -> str:
    lines = server.command("INFO", "replication").splitlines()
    return str(next((line.partition(":")[2] for line in lines if line.startswith(f"{name}:")), ""))
