"""For the tests of `hm`: commands and nodes as processes of their own, in a folder and on a server of one test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hivemind

from . import warm_kit
from .waiting import eventually

ROOT = Path(hivemind.__file__).parents[1]
NODES = ("run", "dev", "root")  #: commands of `hm` that are or start nodes, whose processes are looked at

SENDER = """
from hivemind import Node, service
class Sender(Node):
    @service("numbers", every=0.02)
    def count(self, service):
        self.number = getattr(self, "number", 0) + 1
        service.send(self.number)
"""
RECEIVER = """
from hivemind import Node, subscription
class Receiver(Node):
    @subscription("num*")
    def take(self, payload: int):
        print(payload, flush=True)
"""


@dataclass
class Running:
    """A process of a test and the files that it writes to."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self.out.read_text(errors="surrogateescape")

    @property
    def stderr(self) -> str:
        """What it has said beside that so far."""
        return self.err.read_text(errors="surrogateescape")

    def says(self, text: str, within: float = 20.0) -> None:
        """Wait until ``text`` is on one of its streams."""
        eventually(lambda: self._has_said(text), within)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, within: float = 20.0) -> int:
        """Its exit code, when it has ended by itself."""
        return self.process.wait(within)

    def _has_said(self, text: str) -> bool:
        code = self.process.poll()
        if text in self.stdout or text in self.stderr:
            return True
        if code is not None:
            raise RuntimeError(f"it ended with {code} and never said {text!r}: {self.stdout}{self.stderr}")
        return False


@dataclass
class Place:
    """A folder in which commands are typed, with an environment of its own: nothing of ours is seen there."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)

    def start(self, *command: str | Path, **environ: str) -> Running:
        """Start any program here."""
        number = len(self.running)
        out, err = self.folder / f".out-{number}", self.folder / f".err-{number}"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                list(command),
                cwd=self.folder,
                env=self._environ(environ),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self.running.append(Running(process, out, err))
        return self.running[-1]

    def hm(self, *arguments: str, **environ: str) -> Running:
        """Start `hm` here."""
        return self.start(*self._hm(arguments, environ), **environ)

    def run(self, *arguments: str, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `hm` here until it ends."""
        done = subprocess.run(
            self._hm(arguments, environ),
            cwd=self.folder,
            env=self._environ(environ),
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode()
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file below the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def _hm(self, arguments: Sequence[str], more: dict[str, str]) -> list[str]:
        if arguments[:1] and arguments[0] in NODES:
            return [sys.executable, "-m", "hivemind.cli.hm", *arguments]
        return warm_kit.command("hm", *arguments, environ=self._environ(more))

    def _environ(self, more: dict[str, str]) -> dict[str, str]:
        names = ("HIVE", "XDG_")
        base = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        homes = {f"XDG_{kind}_HOME": str(self.folder / ".home" / kind) for kind in ("STATE", "DATA", "CONFIG", "CACHE")}
        own = {"HOME": str(self.folder / ".home"), "PYTHONPATH": str(ROOT), **homes}
        return {**base, **own, **self.environ, **more}


@contextmanager
def place(folder: Path, **environ: str) -> Iterator[Place]:
    """A place whose processes are ended afterwards."""
    made = Place(folder, environ)
    try:
        yield made
    finally:
        for each in made.running:
            each.process.kill()
            each.process.wait(10)
