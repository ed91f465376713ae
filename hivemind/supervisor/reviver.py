"""Starts again what supervisord gave up, and writes down what it knows.

It also wakes supervisord when one of its children has ended: supervisord would see that up to a second later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable

from ..errors import SupervisorError
from ..identity import this_boot
from .client import LIVE, ProgramInfo
from .engine import Engine
from .exits import Exits
from .files import write_json
from .lives import load_lives
from .plan import load
from .revival import Revival, counts_as_restart

log = logging.getLogger("hived")

LOOK = 15.0  # seconds between looks when nothing is reported
REAPED = 1.0  # seconds by which supervisord may tell later than a keeper notes
PATIENCE = 60.0  # seconds within which a keeper notes how its program ended


class Reviver:
    """Looks at all programs when something happened to one, and every LOOK seconds.

    The look itself is what wakes supervisord: any question makes it collect its dead, and start what should run.
    ``on_failed`` is called for who has ended early with a status that is not 0.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.revival = engine, Revival()
        self.on_failed: Callable[[str], None] = lambda _: None
        self.exits = Exits(lambda _: self.look())
        self.infos: tuple[ProgramInfo, ...] = ()  # what supervisord said last: it tells us of each change
        self._news = asyncio.Event()
        self._heard: deque[tuple[str, float]] = deque()  # who ended when: from the loop to the thread
        self._ended: dict[str, float] = {}  # when programs ended of which it is still to be told how
        self._told: dict[str, float] = {}  # by program when the life ended that was told last: once is enough
        self._written: object = None

    def look(self) -> None:
        """Something happened: look now."""
        self._news.set()

    def ended(self, name: str, *, is_expected: bool = False) -> None:
        """``name`` ended by itself: supervisord starts it again, if it is to run. ``is_expected``: it ended with 0."""
        program = load(self.engine.paths).program(name)
        if program is not None and counts_as_restart(program, is_expected=is_expected):
            self._heard.append((name, time.monotonic()))

    async def run(self) -> None:
        """Look after the programs for ever."""
        while True:
            self._news.clear()
            with contextlib.suppress(SupervisorError):
                self.infos = tuple(await asyncio.to_thread(self._look_once))
                self.exits.watch({info.name: info.pid for info in self.infos if info.state in LIVE})
            due = self.revival.next_due()
            wait = LOOK if due is None else min(LOOK, max(0.05, due - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    def _look_once(self) -> Iterable[ProgramInfo]:
        if self.engine.paths.stopping.exists():
            return ()
        client, plan, now = self.engine.client(), load(self.engine.paths), time.monotonic()
        while self._heard:
            name, at = self._heard.popleft()
            self.revival.restarted(name)
            self._ended[name] = at
        infos = {info.name: info for info in client.programs()}
        for program in plan.programs:
            if program.name in infos:
                self.revival.observe(now, program, infos[program.name])
        self.revival.keep(frozenset(program.name for program in plan.programs))
        for name in self.revival.due(now):
            log.warning("%s cannot be started (%s): trying again", name, infos[name].error or "no reason given")
            client.start(name)
        self._tell_ends()
        self._write_down()
        return infos.values()

    def _tell_ends(self) -> None:
        """Say how programs have ended, once their keepers have found out: the more often they do, the more seldom."""
        now = time.monotonic()
        for name, at in list(self._ended.items()):
            lives = load_lives(self.engine.paths.program_lives(name), this_boot())
            over = lives.lives[-1].ended if lives.lives else 0.0
            if over > max(at - REAPED, self._told.get(name, 0.0)):
                if lives.failures and lives.lives[-1].status:
                    self.on_failed(name)
                log.warning("%s %s", name, lives.text(now))
                self._told[name] = over
                del self._ended[name]
            elif now - at > PATIENCE:
                del self._ended[name]

    def _write_down(self) -> None:
        known = {"revivals": self.revival.counts()}
        if known != self._written:
            with contextlib.suppress(OSError):  # the disk is full: no reason not to revive
                write_json(self.engine.paths.known, known)
                self._written = known
