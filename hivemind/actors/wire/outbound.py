"""A connection to the actors of another address: one for all that is sent there, and for all links to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from ...backoff import Backoff
from ..mailbox import DeadLetter
from ..pid import PID
from ..watches import Watch

log = logging.getLogger(__name__)

CONNECT = 5.0
"""Seconds in which a connection has to be there."""
FIRST, LONGEST = 0.05, 5.0
"""Between two tries to connect: seconds at first, and at the most."""
ROOM = 64 * 1024 * 1024
"""Bytes that may wait for one address."""


class Outbound(asyncio.Protocol):
    """What is sent is written in its order, and what comes back is not read: old peers answer nothing.

    Where it cannot connect, what waits is dead, links are told, and what is sent then tries again.
    """

    def __init__(self, host: str, port: int, bury: Callable[[DeadLetter], None]) -> None:
        self.host, self.port, self._bury = host, port, bury
        self.watches = set[Watch]()
        self._waiting: list[tuple[bytes, DeadLetter | None]] = []
        self._size = 0
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._backoff = Backoff(FIRST, LONGEST)
        self._not_before = 0.0
        self._is_flushing = self._is_closed = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost when it is forgotten."""
        return self._transport is None and self._connecting is None and not self._waiting and not self.watches

    def write(self, data: bytes, letter: DeadLetter | None = None) -> None:
        """Send it; ``letter`` is what is to be buried if it cannot be."""
        if self._size + len(data) > ROOM or self._is_closed:
            self._dead(letter, "too much waits for that address" if not self._is_closed else "the context was stopped")
            return
        self._waiting.append((data, letter))
        self._size += len(data)
        if self._transport is None:
            self._connect()
        elif not self._is_flushing:
            self._is_flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def watch(self, watch: Watch) -> None:
        """Tell it when the connection is lost, or cannot be had: that is what a link is on this wire."""
        self.watches.add(watch)
        if self._transport is None:
            self._connect()

    async def close(self) -> None:
        """Write what waits, as far as it is taken at once, and hang up."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self._backoff.reset()
        self._not_before = 0.0
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Answers, which nobody waits for."""

    def connection_lost(self, _: Exception | None) -> None:
        """Whoever is linked is told. What was not written is tried with a new connection."""
        self._transport = None
        self._tell(f"the connection to {self.host}:{self.port} was lost")
        if self._waiting and not self._is_closed:
            self._connect()

    def _connect(self) -> None:
        if self._connecting is None and not self._is_closed:
            self._connecting = asyncio.get_running_loop().create_task(self._try())

    async def _try(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(self._not_before - loop.time())
            async with asyncio.timeout(CONNECT):
                await loop.create_connection(lambda: self, self.host, self.port)
        except (OSError, TimeoutError) as error:
            self._not_before = loop.time() + self._backoff.next()
            self._connecting = None
            self._give_up(str(error) or f"no connection within {CONNECT:g} s")
        finally:
            self._connecting = None

    def _give_up(self, why: str) -> None:
        waiting, self._waiting, self._size = self._waiting, [], 0
        reason = f"{self.host}:{self.port} cannot be reached: {why}"
        for _, letter in waiting:
            self._dead(letter, reason)
        self._tell(reason)

    def _tell(self, reason: str) -> None:
        told, self.watches = self.watches, set()
        for watch in told:
            watch.tell(reason)

    def _flush(self) -> None:
        self._is_flushing = False
        if self._transport is not None and not self._transport.is_closing() and self._waiting:
            self._transport.write(b"".join([data for data, _ in self._waiting]))
            self._waiting.clear()
            self._size = self._transport.get_write_buffer_size()

    def _dead(self, letter: DeadLetter | None, reason: str) -> None:
        if letter is not None:
            self._bury(DeadLetter(letter.sender, letter.to, letter.mailbox, letter.body, reason))


def unsent(sender: PID, to: PID, mailbox: str, body: bytes) -> DeadLetter:
    """What would be buried of a message."""
    return DeadLetter(sender, to, mailbox, body, "")
