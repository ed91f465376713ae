"""The logs of a hive's other hosts, which their hiveds send over the bus: for `hm logs` and the page."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from ..bus.bus import Bus
from ..cancelling import end
from ..errors import RedisUnavailable
from ..log_lines import LogLine
from .actions import Request, Verb
from .control import CHANNEL, decode_answer, encode_request
from .log_server import FOLLOW, SINCE
from .log_tail import bit_in

CONNECT = 3.0  #: seconds for Redis to answer
PATIENCE = 3.0  #: seconds without a word after which a host is given up
MOMENT = 0.001  #: seconds between two entries, as logs tell them
ASK_AGAIN, GO_ON = 0.5, 3.0  #: seconds between two requests, until all have answered, and then
MOST_WAITING = 50_000  #: entries that wait to be taken; beyond that the oldest go

Say = Callable[[str, bool], None]
"""Hears what there is to say besides, in words, and whether something is wrong."""


class FarLogs:
    """The logs of ``nodes`` (none: all) on ``hosts``: open it, take what there is, and to follow take again."""

    def __init__(self, bus: Bus, hosts: Collection[str], nodes: Sequence[str], say: Say) -> None:
        self._bus, self._nodes, self._say = bus, tuple(nodes), say
        self._hosts, self._waiting = frozenset(hosts), set(hosts)
        self._lines: deque[LogLine] = deque(maxlen=MOST_WAITING)
        self._newest = 0.0
        self._news = asyncio.Event()
        self._reply = f"hived-{secrets.token_hex(16)}"
        self._asking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen for answers. Raises RedisUnavailable, and other RedisErrors."""
        self._bus.live.listen(self._bus.names.control(self._reply), self._hear)
        try:
            async with asyncio.timeout(CONNECT):
                await self._bus.live.confirmed()
        except TimeoutError:
            raise RedisUnavailable(f"{self._bus.endpoint.redacted} does not answer") from None

    async def first(self, since: float | None, *, follow: bool) -> list[LogLine]:
        """What all hosts have, by time, and newer than ``since`` (unix seconds); says which of them do not answer."""
        options = {SINCE: str(since)} if since is not None else {}
        self._asking = asyncio.create_task(self._ask({**options, **({FOLLOW: "1"} if follow else {})}))
        deadline = time.monotonic() + PATIENCE
        while self._waiting and time.monotonic() < deadline:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._news.wait()
                    deadline = time.monotonic() + PATIENCE
        if self._waiting:
            silent = ", ".join(sorted(self._waiting))
            self._say(f"no hived answers on {silent}: its logs are not among these", True)
        self._waiting.clear()
        return self.take()

    def take(self) -> list[LogLine]:
        """What has come since the last time, by time."""
        lines = sorted(self._lines, key=lambda line: line.time)
        self._lines.clear()
        return lines

    async def close(self) -> None:
        """Ask and listen no more. May be called twice."""
        await end(self._asking)
        self._bus.live.unlisten(self._bus.names.control(self._reply), self._hear)

    async def _ask(self, options: dict[str, str]) -> None:
        """Ask until all have answered; then, of those that follow, to go on. A hived that was begun anew meanwhile does
        not know what the one before sent: that begins behind what we have.
        """
        while True:
            if not self._waiting and self._newest:
                options[SINCE] = str(self._newest + MOMENT)
            request = encode_request(Request(Verb.LOGS, self._nodes, options=options), self._reply)
            self._bus.notify(CHANNEL, request)
            await asyncio.sleep(ASK_AGAIN if self._waiting else GO_ON)

    def _hear(self, body: bytes) -> None:
        answer = decode_answer(body)
        if answer is None or answer.hived.host not in self._hosts:
            return
        host = answer.hived.host
        for result in answer.results:
            bit = bit_in(result.text, host) if result.ok else None
            if bit is not None:
                self._lines += bit.lines
                self._newest = max([self._newest, *(line.time for line in bit.lines)])
                if bit.left_out:
                    left = f"{bit.left_out:,} older entries of {host} are left out"
                    self._say(f"{left}: `hm logs` there shows them", False)
            elif not result.ok:
                self._say(f"{host}: {result.text}", True)
        if answer.done or answer.doing == "following":
            self._waiting.discard(host)
        self._news.set()
