"""The processes of one measurement: started together, ended together, whatever happens, also by Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .task import Task
from .window import wait_until

ROOT = Path(__file__).resolve().parent.parent
NODES = Path(__file__).resolve().parent / "nodes"
POLITE = 5.0  #: seconds that a process has to end


class Crashed(Exception):
    """A process of a measurement ended by itself."""


def node(name: str) -> list[str]:
    """The command that runs one of our node files, as hived does."""
    return [sys.executable, "-m", "hivemind.node", str(NODES / f"{name}.py")]


def peer(name: str, role: str) -> list[str]:
    """The command that runs one role of a peer."""
    return [sys.executable, "-m", f"benchmarks.peers.{name}", role]


def environment(task: Task) -> dict[str, str]:
    """What a process sees: this checkout, the task, and no setting of a hive but where Redis is."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HIVEMIND_", "HIVE_"))}
    kept = {name: os.environ[name] for name in ("HIVEMIND_REDIS_SERVER",) if name in os.environ}
    own = {"PYTHONPATH": str(ROOT), "HIVEMIND_REDIS_URL": task.url, "HIVEMIND_HIVE_DEFAULT_PORT": "0"}
    return clean | kept | own | {"HIVEMIND_PATTERNS": task.patterns} | task.environment()


class Processes:
    """Starts processes in ``folder``; leaving it ends them politely, then by force."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, command: Sequence[str], task: Task) -> int:
        """Start one and return its pid."""
        log = self.folder / f"{len(self._running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment(task),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: we end them
            )
        self._running.append((process, log))
        return process.pid

    def wait_until(self, what: str, is_so: Callable[[], bool], timeout: float) -> None:
        """Return when ``is_so``. Raises TimeoutError after ``timeout`` seconds, Crashed as soon as one has ended."""

        def look() -> bool:
            self.check()
            return is_so()

        wait_until(what, look, timeout)

    def check(self) -> None:
        """Raises Crashed when one has ended."""
        for process, log in self._running:
            if process.poll() is not None:
                said = log.read_text(errors="replace").strip().splitlines()
                what = " ".join(str(part) for part in process.args) if isinstance(process.args, list) else ""
                raise Crashed(f"{what} ended with {process.returncode}: {' / '.join(said[-3:])}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, _ in self._running:
            process.terminate()
        try:
            deadline = time.monotonic() + POLITE
            while time.monotonic() < deadline and any(process.poll() is None for process, _ in self._running):
                time.sleep(0.01)
        finally:
            for process, _ in self._running:
                process.kill()  # does nothing to one that has ended
                process.wait()
            self._running.clear()
