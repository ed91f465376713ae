"""hived's part in `hm logs` on other hosts: it sends the logs of this one, for as long as somebody listens.

Who asks names a channel, and asks again every few seconds while it follows: it is the same request, by that channel.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ..settings import Settings
from ..tolerance import tolerated
from .actions import Request, Result
from .control import Hived, encode_answer
from .log_tail import Bit, LogTail

log = logging.getLogger("hived")

SINCE, FOLLOW = "since", "follow"  #: options of a request: unix seconds; anything: go on
LOOK = 0.5  #: seconds between looks for what is new
LISTENS = 10.0  #: seconds for which who asked is taken to listen; it asks again before
AT_ONCE = 20  #: listeners; more are turned away


class LogServer:
    """Answers requests for logs on ``notify``, in the name of ``me``."""

    def __init__(self, settings: Settings, me: Hived, notify: Callable[[str, dict[str, Any]], None]) -> None:
        self._settings, self._me, self._notify = settings, me, notify
        self._until: dict[str, float] = {}  # when we stop, by the channel of who listens
        self._served: deque[str] = deque(maxlen=100)
        self._tasks: set[asyncio.Task[None]] = set()

    def hear(self, request: Request, reply: str) -> None:
        """A request has come, for the first time or again. Where HOSTS names nobody else, nobody is answered."""
        if len(self._settings.constants.HOSTS) < 2:
            return
        if reply not in self._until and reply not in self._served:
            self._served.append(reply)
            if len(self._until) >= AT_ONCE:
                self._say(reply, [Result("", False, f"{AT_ONCE} others follow its logs: try again later")], "")
                return
            task = asyncio.create_task(self._serve(request, reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif reply not in self._until:
            return
        self._until[reply] = time.monotonic() + LISTENS

    async def _serve(self, request: Request, reply: str) -> None:
        tail = LogTail(self._settings, request.targets)
        try:
            with tolerated(log, "logs for another host"):
                since = None
                with suppress(KeyError, ValueError):
                    since = float(request.options[SINCE])
                found = await asyncio.to_thread(tail.first, since)
                is_last = FOLLOW not in request.options
                self._send(reply, found, "" if is_last else "following")
                while not is_last and time.monotonic() < self._until[reply]:
                    await asyncio.sleep(LOOK)
                    if more := await asyncio.to_thread(tail.more):
                        self._send(reply, more, "following")
        finally:
            tail.close()
            self._until.pop(reply, None)

    def _send(self, reply: str, found: Sequence[Bit], doing: str) -> None:
        """All bits, and with the last of them, or without any, what is being done now."""
        for bit in found[:-1]:
            self._say(reply, [Result("", True, bit.to_json())], "sending")
        self._say(reply, [Result("", True, bit.to_json()) for bit in found[-1:]], doing)

    def _say(self, reply: str, results: Sequence[Result], doing: str) -> None:
        self._notify(reply, encode_answer(self._me, [], results, doing=doing))
