"""The logs of the hive's other hosts, which their hiveds send over the bus."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..errors import RedisError
from ..log_lines import LogLine
from ..settings import Settings
from ..supervisor.actions import Request, Verb
from ..supervisor.control import CHANNEL, decode_answer, encode_request
from ..supervisor.engine import redis_url
from ..supervisor.log_server import FOLLOW, SINCE
from ..supervisor.log_tail import bit_in
from . import output
from .reading import away, quiet

CONNECT = 3.0  #: seconds for Redis to answer
PATIENCE = 3.0  #: seconds without a word after which a host is given up
MOMENT = 0.001  #: seconds between two entries, as logs tell them
ASK_AGAIN, GO_ON = 0.5, 3.0  #: seconds between two requests, until all have answered, and then


class FarLogs:
    """The logs of ``hosts``: open it, take what there is, and to follow take again. What cannot be had is told."""

    def __init__(self, settings: Settings, hosts: Collection[str], nodes: Sequence[str]) -> None:
        self._settings, self._nodes = settings, tuple(nodes)
        self._hosts, self._waiting = frozenset(hosts), set(hosts)
        self._lines: list[LogLine] = []
        self._newest = 0.0
        self._news = asyncio.Event()
        self._reply = f"hived-{secrets.token_hex(16)}"
        self._bus = Bus(Endpoint.parse(redis_url(settings), settings.var), settings.name, "hm")
        self._asking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> FarLogs:
        quiet()
        await self._bus.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._bus.aclose()

    async def first(self, since: float | None, *, follow: bool) -> list[LogLine]:
        """What all hosts have, by time; says which of them do not answer."""
        self._bus.live.listen(self._bus.names.control(self._reply), self._hear)
        try:
            async with asyncio.timeout(CONNECT):
                await self._bus.live.confirmed()
        except (TimeoutError, RedisError):
            why = away(self._settings, "no answer")
            output.warn(f"the logs of {', '.join(sorted(self._waiting))} are not among these: {why}")
            return []
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
            output.warn(f"no hived answers on {', '.join(sorted(self._waiting))}: its logs are not among these")
        self._waiting.clear()
        return self.take()

    def take(self) -> list[LogLine]:
        """What has come since the last time, by time."""
        lines, self._lines = self._lines, []
        return sorted(lines, key=lambda line: line.time)

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
                    output.note(f"{bit.left_out:,} older entries of {host} are left out: `hm logs` there shows them")
            elif not result.ok:
                output.warn(f"{host}: {result.text}")
        if answer.done or answer.doing == "following":
            self._waiting.discard(host)
        self._news.set()
