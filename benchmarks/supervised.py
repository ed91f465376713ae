"""Processes that are started again when they end, as whatever supervises them would do."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from .errand import FOLDER
from .processes import environment
from .task import Task

AGAIN = 1.0  #: seconds after which a process that ended is started again


class Supervised:
    """Processes that are started again when they end; ``with`` ends them."""

    def __init__(self, folder: Path, task: Task) -> None:
        self._folder, self._environ = folder, environment(task) | {FOLDER: str(folder)}
        self._commands: dict[str, Sequence[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._is_over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._ended_by_us: set[int] = set()
        self.started = 0  # how often one that ended by itself was started again

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start one."""
        self._commands[name] = command
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Kill one, and all that it started."""
        process = self._running[name]
        self._ended_by_us.add(process.pid)
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(process.pid)
            for one in (found, *found.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    one.kill()

    def _watch(self) -> None:
        while not self._is_over.wait(0.05):
            for name, process in list(self._running.items()):
                if process.poll() is None:
                    continue
                self.started += process.pid not in self._ended_by_us
                if self._is_over.wait(AGAIN):
                    return
                self.start(name, self._commands[name])

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._watching.join()
        for name in self._running:
            self.kill(name)
        for process in self._running.values():
            process.wait()
