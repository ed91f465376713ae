"""A hive in a folder of its own, run by the real hived; everything that it started is ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from hivemind.bus.embedded import Embedded
from hivemind.identity import PidFile, ProcessIdentity
from hivemind.settings import load_settings
from hivemind.supervisor.engine import Engine, engine_for
from hivemind.supervisor.status import HiveStatus, ProgramStatus, status

from . import warm_kit
from .waiting import eventually

SETTINGS = """
HIVE_NAME = {name!r}
HIVE_DEFAULT_PORT = 0
LOG_LOCATION = "log"
HEARTBEAT = 0.3
LEASE = 1.5
STOP_TIMEOUT = 3.0
{more}
"""
SENDER = """
from hivemind import Node, service

class {name}(Node):
    @service("{topic}", every=0.2)
    def tick(self, service):
        service.send("tick")
"""
UP = {"starting", "running"}  # states of a program that nothing hinders
QUIET = """
from hivemind import Node, subscription

class {name}(Node):
    @subscription("nothing")
    def nothing(self, payload):
        pass
"""


class Hive:
    """One hive folder: write its files, run `hived` and `hm` in it, look at what runs."""

    def __init__(self, folder: Path, name: str = "gotham", more: str = "") -> None:
        self.folder = folder
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(("HIVE", "SUPERVISOR_"))}
        self.environ |= {"XDG_RUNTIME_DIR": "", "HOME": str(folder)}
        self._name = name
        self.configure(more)
        self.write("nodes/__init__.py", "")

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def configure(self, more: str = "") -> None:
        """Write config/hive.py with ``more`` lines."""
        self.write("config/hive.py", SETTINGS.format(name=self._name, more=more))

    def node(self, name: str, code: str = QUIET, *, enable: bool = True) -> Path:
        """Write a node, and enable it."""
        if enable:
            with (self.folder / "nodes/__init__.py").open("a") as file:
                file.write(f"from .{name} import {name}\n")
        return self.write(f"nodes/{name}/{name}.py", code.replace("{name}", name.capitalize()).replace("{topic}", name))

    @property
    def engine(self) -> Engine:
        return engine_for(load_settings(self.folder, self.environ), self.environ)

    def run(self, program: str, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `hived` or `hm` in the hive."""
        return subprocess.run(
            self.warm(program, *arguments),
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def command(self, program: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", f"hivemind.cli.{program}", *arguments]

    def warm(self, program: str, *arguments: str) -> list[str]:
        """The same, for what ends by itself."""
        return warm_kit.command(program, *arguments, environ=self.environ)

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Start it, and wait until every program that can run is a process of its own."""
        done = self.run("hived", "start", *arguments)
        assert done.returncode == 0, done.stderr
        eventually(lambda: not {"stopped", "unknown"} & set(self.states().values()), within=15)
        return done

    def status(self) -> HiveStatus:
        return status(self.engine)

    def program(self, name: str) -> ProgramStatus:
        found = {each.name: each for each in self.status().programs}
        assert name in found, f"{name} is not among {sorted(found)}"
        return found[name]

    def states(self) -> dict[str, str]:
        return {each.name: each.state for each in self.status().programs}

    def pids(self) -> dict[str, int | None]:
        return {each.name: each.pid for each in self.status().programs}

    def supervisord(self) -> ProcessIdentity:
        found = self.engine.supervisord()
        assert found is not None, "supervisord does not run"
        return found

    def listener(self) -> psutil.Process:
        (found,) = self.processes("hivemind.supervisor.daemon")
        return found

    def processes(self, text: str = "") -> list[psutil.Process]:
        """Every living process of this hive whose command line has ``text``."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                line = " ".join(process.cmdline())
                is_ours = str(self.folder) in line or process.environ().get("HIVEMIND_HIVE") == str(self.folder)
                if is_ours and text in line:
                    found.append(process)
        return found

    def copies(self, node: str) -> list[psutil.Process]:
        """The processes that are this node, not their keepers."""
        found = []
        for each in self.processes(f"--name {node}"):
            with suppress(psutil.Error):  # it may end while we look
                if "keeper" not in " ".join(each.cmdline()):
                    found.append(each)
        return found

    def servers(self) -> list[psutil.Process]:
        """Its Redis, also where its command line is too short for the path, and the files that name it are gone."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if "-server" in process.name() and process.cwd().startswith(str(self.folder)):
                    found.append(process)
        return found

    def log(self, name: str) -> str:
        path = self.folder / "log" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def end(self) -> None:
        """Kill whatever is left, without ceremony: what stopping does is tested by those who stop."""
        marker = self.engine.paths.stopping
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        while found := self.processes():
            for process in found:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(found, timeout=5)
        redis = Embedded.of(self.engine.settings)  # its command line does not name the hive where the path is long
        if (identity := redis.pidfile.living()) is not None:
            kill(identity)
            eventually(lambda: not identity.is_alive())
        for process in self.servers():
            with suppress(psutil.Error):
                process.kill()
        redis.socket.unlink(missing_ok=True)
        if self.engine.paths.runtime != self.engine.paths.var:
            with suppress(OSError):  # something else lies there
                self.engine.paths.runtime.rmdir()


@contextmanager
def hive_in(folder: Path, name: str = "gotham", more: str = "") -> Iterator[Hive]:
    """A hive that is ended afterwards, whatever happened."""
    hive = Hive(folder, name, more)
    try:
        yield hive
    finally:
        hive.end()


def well(hive: Hive) -> bool:
    """Whether all that should run does; for ``eventually``."""
    found = hive.status()
    assert found.is_well, found
    return True


def kill(identity: ProcessIdentity | psutil.Process, number: int = signal.SIGKILL) -> None:
    """Send a signal, by default the one that cannot be caught."""
    os.kill(identity.pid, number)


def record(path: Path) -> ProcessIdentity:
    found = PidFile(path).read()
    assert found is not None
    return found.identity
