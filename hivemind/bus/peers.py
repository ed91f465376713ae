"""Where the connections of a process lead, for who finds that they lead to the wrong place."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from weakref import WeakSet

from redis.asyncio import connection as connections

Address = tuple[str, int]
LATE = 10.0  #: seconds for which a Sentinel may name the old primary, and that take itself for one


class Peers:
    """The connections that one process has open, or is about to open."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._all: WeakSet[connections.AbstractConnection] = WeakSet()
        self._clock, self._told, self._until = clock, ("", 0), 0.0

    def add(self, connection: connections.AbstractConnection) -> None:
        """It is about to be opened."""
        self._all.add(connection)

    @property
    def addresses(self) -> set[Address]:
        """Where those lead that are open now."""
        return {_address(one) for one in self._all if _transport(one) is not None}

    @property
    def told(self) -> Address | None:
        """Where a Sentinel has just said that all is to lead: another one may not have heard of that yet."""
        return self._told if self._clock() < self._until else None

    def follow(self, to: Address) -> None:
        """A Sentinel says that all is to lead there from now on."""
        self._told, self._until = to, self._clock() + LATE

    def doubt(self) -> None:
        """A connection could not be opened: wherever we were told to go, ask again."""
        self._until = 0.0

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
