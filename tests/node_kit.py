"""Nodes as processes of their own, the way users run them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.servers import RedisServer
from tests.waiting import eventually


class NodeProcess:
    """One node in a process; ``output`` is what it printed and logged so far."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self._log = folder / f"output-{os.urandom(4).hex()}.txt"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def says(self, text: str, within: float = 15.0, times: int = 1) -> str:
        """Wait until it has said ``text``, so many times."""

        def said() -> bool:
            assert self.output.count(text) >= times, f"{text!r} is not in:\n{self.output}"
            return True

        eventually(said, within=within)
        return self.output

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self, within: float = 15.0) -> int:
        """Wait until it has ended and return its exit code."""
        return self.process.wait(within)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Workshop:
    """A folder with node files, a Redis, and the processes that run them."""

    def __init__(self, folder: Path, url: str, hive: str) -> None:
        self.folder, self.url, self.hive = folder, url, hive
        self.running: list[NodeProcess] = []

    def write(self, name: str, code: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(code))
        return path

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HIVEMIND_REDIS_URL": self.url,
            "HIVEMIND_HIVE_NAME": self.hive,
            "HIVEMIND_HEARTBEAT": "0.3",
            "HIVEMIND_LEASE": "1.2",
            **more,
        }

    def run(self, *arguments: str, **environment: str) -> NodeProcess:
        """``python -m hivemind.node ARGUMENTS``."""
        return self.python("-m", "hivemind.node", *arguments, **environment)

    def python(self, *arguments: str, **environment: str) -> NodeProcess:
        process = NodeProcess([sys.executable, *arguments], self.folder, self.environment(**environment))
        self.running.append(process)
        return process

    def close(self) -> None:
        for process in self.running:
            process.close()


@contextmanager
def workshop(folder: Path, server: RedisServer, hive: str) -> Iterator[Workshop]:
    made = Workshop(folder, server.url, hive)
    try:
        yield made
    finally:
        made.close()


def registered(server: RedisServer, hive: str, instance: str) -> dict[str, Any] | None:
    """What the registry's hash has of an instance; None when it is not there."""
    fields = server.command("HMGET", f"hm:{{{hive}}}:node:{instance}", "incarnation", "about", "stats")
    if fields[0] is None:
        return None
    incarnation, about, stats = fields
    return {"incarnation": int(incarnation), **orjson.loads(about), **orjson.loads(stats)}
