"""The only door to supervisord: XML-RPC over its unix socket, every call within a time limit.

supervisord is one thread: while it is stopped or swapping, a call would hang for ever without the limit.
"""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from ..errors import SupervisorError


class ProgramState(IntEnum):
    """Supervisord's states of one program."""

    STOPPED = 0  # stopped on request, or not started yet
    STARTING = 10  # started, not up for long enough
    RUNNING = 20  # up
    BACKOFF = 30  # ended too soon, is tried again
    STOPPING = 40  # asked to stop
    EXITED = 100  # ended by itself after it was up
    FATAL = 200  # ended too soon too often, supervisord gave it up
    UNKNOWN = 1000  # supervisord has a bug


LIVE = frozenset({ProgramState.STARTING, ProgramState.RUNNING, ProgramState.STOPPING})
STARTED = frozenset({ProgramState.STARTING, ProgramState.RUNNING, ProgramState.BACKOFF})
FAILING = frozenset({ProgramState.BACKOFF, ProgramState.FATAL})


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What supervisord says of one program. ``pid`` is 0 if none runs; it is the keeper's, if that adopted."""

    name: str
    state: ProgramState
    pid: int
    started: float  # unix seconds, 0.0: never
    stopped: float  # unix seconds, 0.0: never
    exit_status: int
    error: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between the file and what runs, by program name."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class SupervisorClient:
    """One supervisord, by its ``socket``. Each call opens a connection of its own and ends within ``timeout`` seconds.

    Every method raises SupervisorError if supervisord cannot be reached, does not answer, or refuses.
    """

    def __init__(self, socket: Path, timeout: float = 10.0) -> None:
        self.socket, self.timeout = socket, timeout

    def pid(self) -> int:
        """Supervisord's pid."""
        return int(self._call("supervisor.getPID"))

    def is_stopping(self) -> bool:
        """Whether supervisord is about to end."""
        return int(self._call("supervisor.getState")["statecode"]) < 1

    def programs(self) -> list[ProgramInfo]:
        """Every program and listener, sorted by name."""
        return sorted((_info(each) for each in self._call("supervisor.getAllProcessInfo")), key=lambda info: info.name)

    def program(self, name: str) -> ProgramInfo:
        """One program."""
        return _info(self._call("supervisor.getProcessInfo", _full(name)))

    def start(self, name: str) -> bool:
        """Start ``name`` without waiting; False if it runs already."""
        return self._unless("ALREADY_STARTED", "supervisor.startProcess", _full(name), False)

    def stop(self, name: str) -> bool:
        """Ask ``name`` to stop without waiting; False if it does not run."""
        return self._unless("NOT_RUNNING", "supervisor.stopProcess", _full(name), False)

    def reload(self) -> Changes:
        """Read the configuration again and say what differs; nothing is touched yet."""
        added, changed, removed = self._call("supervisor.reloadConfig")[0]
        return Changes(tuple(added), tuple(changed), tuple(removed))

    def add(self, name: str) -> bool:
        """Take up program ``name`` from the file, and start it; False if it is there already."""
        return self._unless("ALREADY_ADDED", "supervisor.addProcessGroup", name)

    def remove(self, name: str) -> bool:
        """Forget the stopped program ``name``; False if there is none."""
        return self._unless("BAD_NAME", "supervisor.removeProcessGroup", name)

    def shutdown(self) -> None:
        """Let supervisord stop what still runs, and end."""
        self._call("supervisor.shutdown")

    def _unless(self, fault: str, method: str, *arguments: object) -> bool:
        try:
            self._call(method, *arguments)
        except SupervisorError as error:
            if str(error).startswith(f"{fault}:"):
                return False
            raise
        return True

    def _call(self, method: str, *arguments: object) -> Any:
        transport = _UnixTransport(self.socket, self.timeout)
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        try:
            return getattr(proxy, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise SupervisorError(f"{fault.faultString}: supervisord refused {method}{arguments}") from None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            reason = f"{type(error).__name__}: {error}"
            raise SupervisorError(f"no answer from supervisord at {self.socket} to {method} ({reason})") from None
        finally:
            transport.close()


class _UnixTransport(xmlrpc.client.Transport):
    """xmlrpc's transport over a unix socket, with a time limit."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self._path, self._timeout = path, timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        self._connection = host, _UnixConnection(self._path, self._timeout)  # close() closes this one
        return self._connection[1]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _full(name: str) -> str:
    return f"{name}:{name}"


def _info(found: Mapping[str, Any]) -> ProgramInfo:
    return ProgramInfo(
        name=str(found["name"]),
        state=ProgramState(found["state"]),
        pid=int(found["pid"]),
        started=float(found["start"]),
        stopped=float(found["stop"]),
        exit_status=int(found["exitstatus"]),
        error=str(found["spawnerr"]),
    )
