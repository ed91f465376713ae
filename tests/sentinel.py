"""A real Sentinel for tests: any of the servers, started as one."""

from __future__ import annotations

import subprocess
from typing import Self

from .servers import RedisServer
from .waiting import eventually


class SentinelServer(RedisServer):
    """A Sentinel that watches over a primary; knows it as ``main``."""

    def __init__(self, primary: RedisServer, lines: tuple[str, ...] = ()) -> None:
        super().__init__(primary.binary, tcp=True, lines=lines)
        self.primary_port = primary.port

    def start(self) -> Self:
        self._write_config()
        command = [str(self.binary), str(self.folder / "redis.conf"), "--sentinel"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self.answers, within=10.0)
        return self

    def _write_config(self) -> None:
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            f"dir {self.folder}",
            f"sentinel monitor main 127.0.0.1 {self.primary_port} 1",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 3000",
            *self.lines,
        )
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n")
