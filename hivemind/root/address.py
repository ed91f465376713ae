"""Where the page is: a port, by default of the loopback, and the file that tells this machine's tools which one."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import orjson

from ..errors import ConfigurationError
from ..identity import ProcessIdentity
from ..whole import private_folder

HOST = "127.0.0.1"
NEXT_PORTS = 20
"""How many ports after the wanted one are tried before any free one is taken."""
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


def resolve(host: str) -> str:
    """The address that a host's name means here. Raises ConfigurationError if it means none."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"HIVE_DEFAULT_HOST = {host!r} is no address of this machine: {error}") from error


def is_here_only(address: str) -> bool:
    """Whether nobody on another machine reaches what listens on ``address``."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def listen(port: int, host: str = HOST) -> socket.socket:
    """A listening socket on ``port``, or if that is taken on the next free one, or on any; 0 means any at once.

    ``host`` is an address. Raises OSError if it is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in (*range(port, min(port + NEXT_PORTS, 65535) + 1), 0):
        listener = socket.socket(family, socket.SOCK_STREAM)
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
    """What to type into a browser; of what listens on all addresses of this machine, with its name."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
        private_folder(self.path.parent)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        process = ProcessIdentity.current().to_json()
        draft.write_bytes(orjson.dumps({"url": url, "pid": os.getpid(), "process": process}) + b"\n")
        draft.replace(self.path)

    def remove(self, url: str) -> None:
        """Delete the file if it says that ``url`` is served; it need not be there."""
        if self.read() == url:
            self.path.unlink(missing_ok=True)
