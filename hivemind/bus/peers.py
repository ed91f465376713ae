"""Where the connections of a process lead, for who finds that they lead to the wrong place."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast
from weakref import WeakSet

from redis.asyncio import connection as connections

Address = tuple[str, int]


class Peers:
    """The connections that one process has open, or is about to open."""

    def __init__(self) -> None:
        self._all: WeakSet[connections.AbstractConnection] = WeakSet()

    def add(self, connection: connections.AbstractConnection) -> None:
        """It is about to be opened."""
        self._all.add(connection)

    @property
    def addresses(self) -> set[Address]:
        """Where those lead that are open now."""
        return {_address(one) for one in self._all if _transport(one) is not None}

    def leave(self, to: Address | None) -> int:
        """Cut all connections but those that lead ``to`` there, at once, and return how many: who uses them makes them
        anew.
        """
        cut = 0
        for connection in list(self._all):
            transport = _transport(connection)
            if transport is not None and _address(connection) != to:
                transport.abort()
                cut += 1
        return cut


def _transport(connection: connections.AbstractConnection) -> Any:
    """What it travels over; None where it is not open."""
    with suppress(AttributeError):
        transport = cast(Any, connection)._writer.transport
        return None if transport.is_closing() else transport
    return None


def _address(connection: connections.AbstractConnection) -> Address:
    found = cast(Any, connection)
    return str(found.host), int(found.port)
