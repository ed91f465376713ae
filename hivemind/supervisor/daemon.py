"""hived's listener: the process under supervisord that watches over the others and is hived on the bus.

``python -m hivemind.supervisor.daemon --hive PATH``. It revives what supervisord gave up, kills what hangs, tells who
has died, restarts survivors of an older program, tries broken nodes again when their files change, and does what `hm`
asks. It may be killed at any moment: supervisord starts it again, and everything it needs to know is in files.

When supervisord itself is killed, its standard input ends: unless a stop was asked for, it starts a new one. One that
stands still it kills; if it stands still itself, supervisord does the same to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from ..burst import Burst
from ..bus.bus import Bus
from ..bus.credentials import HIVED
from ..bus.endpoint import Endpoint
from ..cancelling import end
from ..data.layout import check_layout
from ..data.registry import Registry
from ..errors import HivemindError, LayoutMismatch, RedisError, SupervisorError
from ..identity import PidFile, ProcessIdentity
from ..last_settings import settings_or_applied
from ..log import setup
from ..log_lines import form_of
from ..settings import HIVE, logged_in
from ..whole import FULL
from .archive import Archive
from .deaths import Deaths
from .engine import Engine, engine_for, redis_url
from .events import Event, events
from .guard import Guard
from .halt import pidfiles
from .keeper import kill
from .lifecycle import start
from .plan import load
from .processes import REDIS
from .redis_vigil import RedisVigil
from .rescuer import Rescuer
from .reviver import Reviver
from .rollout import Finisher
from .running import Running
from .servant import Servant
from .steward import Steward
from .stood import news
from .vigil import Vigil

log = logging.getLogger("hived")

AGAIN = 2.0  # seconds until a supervisord that could not be started for want of room on the disk is tried again
LOOK = 0.5  # seconds between looks at the layout of what is in Redis


class Daemon:
    """The tasks of the listener, each of which goes on whatever happens to the others."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_ending, self.is_ours, self._told = asyncio.Event(), asyncio.Event(), Burst(60.0)
        settings = engine.settings
        self.bus = Bus(Endpoint.parse(redis_url(settings), settings.var, HIVED), settings.name, "hived")
        registry = Registry(self.bus.commands, self.bus.functions, self.bus.names)
        self.reviver = Reviver(engine)
        self.guard = Guard(engine, registry, self.bus, Running(engine.paths, lambda: self.reviver.infos))
        self.deaths = Deaths(self.bus, registry)
        self.guard.on_look = self.deaths.watch
        self.steward = Steward(engine, self.bus, lambda: self.guard.instances)
        self.servant = Servant(engine, self.bus, self.is_ending.set, lambda: self.guard.instances)
        self.rescuer = Rescuer(self.servant.fresh)
        self.reviver.on_failed = self.rescuer.ended
        self.vigil = Vigil(engine)

    async def run(self) -> None:
        """Return when supervisord is gone or wants us to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.is_ending.set)
        self.bus.start()
        jobs: list[Callable[[], Awaitable[None]]] = [self.reviver.run, self.servant.run, self._know_layout]
        jobs += [Archive(self.engine).run, Finisher(self.engine, lambda: self.reviver.infos).run, self.vigil.run]
        jobs += [RedisVigil(self.engine).run, self.rescuer.run]
        jobs += [self._when_ours(job) for job in (self.guard.run, self.steward.run, self.steward.caretaker.run)]
        tasks = [asyncio.create_task(_for_ever(job)) for job in jobs]
        listener = asyncio.create_task(self._listen())
        ending = asyncio.create_task(self.is_ending.wait())
        await asyncio.wait([listener, ending], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*[end(task) for task in (*tasks, ending)])
        self.deaths.close()
        self.reviver.exits.close()
        with contextlib.suppress(HivemindError, OSError):
            await self.bus.aclose()
        await asyncio.gather(*[end(task) for task in asyncio.all_tasks() - {asyncio.current_task(), listener}])
        await loop.shutdown_default_executor()  # what began on a thread goes on to its end:
        await end(listener)  # until then supervisord hears that we live

    def _when_ours(self, job: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """``job`` touches what is in Redis only when it is known to have our layout."""

        async def begin() -> None:
            await self.is_ours.wait()
            await job()

        return begin

    async def _know_layout(self) -> None:
        """Look until what is in Redis has our layout; then that is known for ever."""
        while not self.is_ours.is_set():
            try:
                await check_layout(self.bus.commands, self.bus.names)
                self.is_ours.set()
            except LayoutMismatch as error:
                if self._told.first() is not None:
                    log.error("%s", error)
            except RedisError:
                pass  # told elsewhere
            await asyncio.sleep(LOOK)
        await asyncio.Event().wait()

    async def _listen(self) -> None:
        async for event in events():
            self.vigil.heard()
            if not self.is_ending.is_set():
                self._heard(event)

    def _heard(self, event: Event) -> None:
        if event.name.startswith("PROCESS_STATE_"):
            if event.name in ("PROCESS_STATE_EXITED", "PROCESS_STATE_BACKOFF"):
                self.reviver.ended(event.program, is_expected=event.is_expected)
            self.deaths.look(event.program)
            self.reviver.look()
        elif event.name == "SUPERVISOR_STATE_CHANGE_STOPPING":
            self.engine.paths.stopping.touch()
            self._stop_side_by_side()

    def _stop_side_by_side(self) -> None:
        """Tell all nodes at once to stop: supervisord itself would wait for one after the other."""
        for name, path in pidfiles(self.engine, load(self.engine.paths)).items():
            record = PidFile(path).read()
            if name != REDIS and record is not None:
                kill(record.identity, signal.SIGTERM)


async def _for_ever(job: Callable[[], Awaitable[None]]) -> None:
    """Run ``job`` again whenever it fails: what one file or one answer holds must not end our watch."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("hived: this should not be; it goes on")
        await asyncio.sleep(1.0)


def take_over(engine: Engine) -> None:
    """Our supervisord is gone: start a new one, unless a stop was asked for or a foreground process will do it."""
    if engine.paths.stopping.exists():
        return
    if PidFile(engine.paths.foreground).living() is not None:
        return
    log.warning("supervisord is gone although nobody asked for it: starting a new one, which adopts all programs")
    told = ""
    while not engine.paths.stopping.exists():
        try:
            start(replace(engine, patience=math.inf))  # whoever holds the lock: nobody else does it
        except SupervisorError as error:
            if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL):
                log.error("no new supervisord was started: %s", error)
                return
            if told != str(error):
                told = str(error)
                log.error("no new supervisord was started, which is tried again every %g s: %s", AGAIN, error)
            time.sleep(AGAIN)
        except HivemindError:
            log.exception("a new supervisord cannot be started; `hived start` does it by hand")
            return
        else:
            return


def main(arguments: list[str]) -> None:
    """Be the listener of the hive that ``--hive`` names."""
    hive = Path(arguments[arguments.index("--hive") + 1])
    os.chdir(hive)
    settings, fault = settings_or_applied({**os.environ, HIVE: str(hive)})
    engine = engine_for(settings)
    constants = settings.constants
    finish = setup(
        level=constants.LOG_LEVEL,
        file=settings.log_file("hived"),
        max_bytes=constants.LOG_MAX_BYTE_SIZE,
        backups=constants.LOG_BACKUP_COUNT,
        terminal=False,
        own_streams=False,
        form=form_of(constants.LOG_FORMAT, settings.name, logged_in(settings.log_file("hived"))),
    )
    logging.getLogger("hivemind.redis").addFilter(lambda _: not engine.paths.stopping.exists())  # Redis is to go
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if fault:
        log.error("the settings are at fault, and those that were applied last hold: %s", fault)
    with contextlib.suppress(OSError):  # the disk is full: then nobody can say whether we stand still
        PidFile(engine.paths.listener).write(ProcessIdentity.current())
    if stood := news(engine.paths.stood):
        log.error("%s", stood)
    try:
        daemon = asyncio.run(_run(engine))
        if not daemon.is_ending.is_set():
            take_over(engine)
    finally:
        finish()


async def _run(engine: Engine) -> Daemon:
    daemon = Daemon(engine)
    await daemon.run()
    return daemon


if __name__ == "__main__":
    main(sys.argv[1:])
