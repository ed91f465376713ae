"""Requests on their way to whoever takes them: those of one name and one turn of the loop travel in one call.

A function in Redis costs more to call than what it does for one request, and what it looks up for one holds for all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .asked import Asked

if TYPE_CHECKING:
    from .requests import Requests

MOST = 64  #: requests in one call: Redis does nothing else meanwhile


class Way:
    """How requests of one name are given to somebody; a command of the link, while there are any."""

    __slots__ = ("_asked", "_loop", "_name", "_requests")

    def __init__(self, requests: Requests, name: str) -> None:
        self._requests, self._name = requests, name
        self._loop = asyncio.get_running_loop()
        self._asked: list[Asked] = []

    @property
    def is_full(self) -> bool:
        """Whether what is asked next needs another one."""
        return len(self._asked) >= MOST

    def put(self, asked: Asked) -> None:
        """Ask, as soon as there is a connection."""
        self._asked.append(asked)
        if len(self._asked) == 1:
            self._requests.calls.put(self)
        else:
            self._requests.calls.joined()

    def packed(self) -> bytes:
        """The call that gives them to somebody; those that nobody waits for any more are left out."""
        every, self._asked = self._asked, []
        now = self._loop.time()
        parts = [asked.packed(now) for asked in every if not asked.is_over]
        if not parts:
            return b""
        count, begun = self._requests.begun(self._name)
        return b"*%d\r\n%b%b" % (count + 3 * len(parts), begun, b"".join(parts))

    def lost(self) -> None:
        """Nobody knows whether they were given to somebody: it is found out at the next look."""
