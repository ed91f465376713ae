"""Starts again what supervisord gave up, rolls survivors of an older program, and writes down what it knows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from ..errors import SupervisorError
from ..identity import PidFile
from .apply import patience, stop
from .client import LIVE, ProgramInfo
from .engine import Engine
from .files import write_json
from .halt import pidfiles
from .plan import Plan, load
from .revival import Revival
from .topology import Program

log = logging.getLogger("hived")

LOOK = 5.0  # seconds between looks when nothing is reported


class Reviver:
    """Looks at all programs when something happened to one, and every LOOK seconds."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.revival = engine, Revival()
        self._news = asyncio.Event()
        self._written: object = None

    def look(self) -> None:
        """Something happened: look now."""
        self._news.set()

    def ended(self, name: str) -> None:
        """``name`` ended by itself after it had been up: supervisord starts it again, if it is to run always."""
        program = load(self.engine.paths).program(name)
        if program is not None and program.restart == "always":
            self.revival.restarted(name)

    async def run(self) -> None:
        """Look after the programs for ever."""
        await asyncio.to_thread(self._roll)
        while True:
            self._news.clear()
            with contextlib.suppress(SupervisorError):
                await asyncio.to_thread(self._look_once)
            due = self.revival.next_due()
            wait = LOOK if due is None else min(LOOK, max(0.05, due - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    def _look_once(self) -> None:
        if self.engine.paths.stopping.exists():
            return
        client, plan, now = self.engine.client(), load(self.engine.paths), time.monotonic()
        infos = {info.name: info for info in client.programs()}
        for program in plan.programs:
            if program.name in infos:
                info = infos[program.name]
                self.revival.observe(now, program, info, max(0.0, time.time() - info.started))
        self.revival.keep(frozenset(program.name for program in plan.programs))
        for name in self.revival.due(now):
            log.warning("%s ended too soon (%s): starting it again", name, infos[name].error or "no reason given")
            client.start(name)
        self._write_down()

    def _write_down(self) -> None:
        known = {"revivals": self.revival.counts()}
        if known != self._written:
            with contextlib.suppress(OSError):  # the disk is full: no reason not to revive
                write_json(self.engine.paths.known, known)
                self._written = known

    def _roll(self) -> None:
        """Restart, one after the other, adopted programs whose command or settings are no longer the planned ones."""
        plan, client = load(self.engine.paths), self.engine.client()
        with contextlib.suppress(SupervisorError):
            infos = {info.name: info for info in client.programs()}
            for program in outdated(self.engine, plan, infos):
                log.warning("%s runs an older program: restarting it", program.name)
                stop(client, [program.name], patience([program]))
                client.start(program.name)


def outdated(engine: Engine, plan: Plan, infos: dict[str, ProgramInfo]) -> list[Program]:
    """The programs that were adopted and are not what the plan says. Redis is never one: only a reload restarts it."""
    files, found = pidfiles(engine, plan), []
    for program in plan.programs:
        info, path = infos.get(program.name), files.get(program.name)
        if info is None or path is None or info.state not in LIVE or program.kind == "redis":
            continue
        record = PidFile(path).read()
        is_adopted = record is not None and record.identity.is_alive() and record.identity.pid != info.pid
        if is_adopted and record is not None and record.digest != program.digest:
            found.append(program)
    return found
