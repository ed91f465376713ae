"""Where an actor is: ``name@ip:port``, as libprocess writes it."""

from __future__ import annotations

from dataclasses import dataclass

UNSAFE = frozenset(" \t\r\n?#%")
"""What a name may not have: it is written into a line of HTTP as it is, since peers do not decode it."""
LAST_PORT = 65_535


@dataclass(frozen=True, slots=True, order=True)
class PID:
    """The address of an actor: the ``ip`` and ``port`` of its context, and its name, ``id``.

    A value: it can be compared, sorted and pickled. Raises ValueError where it cannot be one.
    """

    ip: str
    port: int
    id: str

    def __post_init__(self) -> None:
        if not isinstance(self.port, int) or not 0 <= self.port <= LAST_PORT:
            raise ValueError(f"Invalid PID: {self.port!r} is no port: write a number from 0 to {LAST_PORT}")

    @classmethod
    def from_string(cls, pid: str) -> PID:
        """From ``id@ip:port``; the ip of version 6 in brackets, as in ``leader@[::1]:5051``."""
        name, at, address = pid.partition("@")
        ip, colon, port = address.rpartition(":")
        if not (at and colon and ip) or not (port.isascii() and port.isdigit()):
            raise ValueError(f"Invalid PID: {pid!r}: write it as name@ip:port")
        if ip.startswith("[") and ip.endswith("]"):
            ip = ip[1:-1]
        elif ":" in ip:
            raise ValueError(f"Invalid PID: {pid!r}: an ip of version 6 is written in brackets, as in name@[::1]:5051")
        return cls(ip, int(port), name)

    @property
    def address(self) -> str:
        """``ip:port``, as in a URL."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    def as_url(self, endpoint: str | None = None) -> str:
        """Where a route of it is to be had, or where a message to its mailbox ``endpoint`` is posted."""
        url = f"http://{self.address}/{self.id}"
        return f"{url}/{endpoint}" if endpoint else url

    def __str__(self) -> str:
        return f"{self.id}@{self.address}"

    def __repr__(self) -> str:
        return f"PID({self.ip}, {self.port}, {self.id})"


def checked_name(name: str) -> str:
    """``name``, where an actor can have it. Raises ValueError that says what is wrong."""
    if (
        not isinstance(name, str)
        or not name
        or not name.isascii()
        or not name.isprintable()
        or UNSAFE & set(name)
        or "/" in name
    ):
        raise ValueError(
            f"{name!r} cannot be the name of an actor: write printable ASCII without spaces, '/', '?', '#' or '%'"
        )
    return name
