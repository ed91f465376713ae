"""Where the page is: a port of the loopback, and the file that tells the tools of this machine which one."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import orjson

from ..identity import ProcessIdentity

HOST = "127.0.0.1"
NEXT_PORTS = 20
"""How many ports after the wanted one are tried before any free one is taken."""
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


def listen(port: int, host: str = HOST) -> socket.socket:
    """A listening socket on ``port``, or if that is taken on the next free one, or on any; 0 means any at once."""
    for candidate in (*range(port, min(port + NEXT_PORTS, 65535) + 1), 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno not in _TAKEN or candidate == 0:
                raise
        else:
            listener.setblocking(False)
            return listener
    raise AssertionError("port 0 is always tried")


def url_of(listener: socket.socket) -> str:
    """What to type into a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


@dataclass(frozen=True, slots=True)
class AddressFile:
    """``var/root.json``: ``{"url", "pid", "process"}`` of the first root of this hive on this machine.

    A second root leaves the file of a living one alone. A killed root leaves its file behind: ``read`` does not
    believe it.
    """

    path: Path

    def read(self) -> str | None:
        """The address of the root that runs; None if there is no file, or the process that wrote it is gone."""
        try:
            value = orjson.loads(self.path.read_bytes())
            return str(value["url"]) if ProcessIdentity.from_json(value["process"]).is_alive() else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, url: str) -> None:
        """Say that this process serves ``url``, unless another living one does. Raises OSError."""
        if self.read() is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        process = ProcessIdentity.current().to_json()
        draft.write_bytes(orjson.dumps({"url": url, "pid": os.getpid(), "process": process}) + b"\n")
        draft.replace(self.path)

    def remove(self, url: str) -> None:
        """Delete the file if it says that ``url`` is served; it need not be there."""
        if self.read() == url:
            self.path.unlink(missing_ok=True)
