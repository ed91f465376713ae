"""The watchdog's hands: reads the registry, lets Watchdog judge, and kills what hangs."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Sequence

from ..bus.bus import Bus
from ..data.directory import Directory
from ..data.records import Instance
from ..data.registry import Registry
from ..errors import RedisError, SupervisorError
from ..identity import PidFile, ProcessIdentity
from .client import ProgramState
from .engine import Engine
from .halt import pidfiles
from .keeper import kill, kill_group
from .leftovers import extra_copies, long_lost, lost_for
from .plan import load
from .watchdog import Watchdog

log = logging.getLogger("hived")

LOOKS_PER_LEASE = 6
STACKS = 1.0  # seconds that a hung program gets to write its stacks


class Guard:
    """Looks a few times a lease; while Redis is away, or refuses, nobody is judged."""

    def __init__(self, engine: Engine, registry: Registry, bus: Bus) -> None:
        self.engine, self.registry, self.bus = engine, registry, bus
        self.watchdog = Watchdog()
        self.instances: list[Instance] = []  # as last seen
        self.on_look: Callable[[Sequence[Instance]], None] = lambda _: None
        self._directory, self._mode = Directory(bus.commands, bus.functions, bus.names), ""
        self.pause = engine.settings.constants.LEASE / LOOKS_PER_LEASE

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(self.pause)
            if time.monotonic() - before > 3 * self.pause:
                self.watchdog.away()  # we ourselves were stopped: so may have been all others
            try:
                await self._look()
            except RedisError:
                self.watchdog.away()
            except SupervisorError:
                continue

    async def _look(self) -> None:
        await self._look_at_patterns()
        running = await asyncio.to_thread(self._running)
        # Whether Redis takes beats at all: with a full disk it answers questions but refuses PEXPIRE.
        await self.bus.commands.execute("PEXPIRE", self.bus.names.control("watchdog"), 1)
        instances = self.instances = await self.registry.instances()
        self.on_look(instances)
        await self._forget(instances)
        for name, process in self.watchdog.observe(time.monotonic(), running, instances):
            if not self.engine.paths.stopping.exists():
                await self._end(name, process)

    async def _look_at_patterns(self) -> None:
        """Say when the hive begins to keep its patterns in another way: that concerns everybody."""
        mode = await self._directory.mode()
        if mode and self._mode and mode != self._mode:
            log.warning('the hive runs with PATTERNS = "%s" now; before it was "%s"', mode, self._mode)
        self._mode = mode or self._mode

    async def _forget(self, instances: list[Instance]) -> None:
        """Forget further copies of our nodes that somebody started by hand and that were lost a while ago."""
        if any(one.is_lost for one in instances):
            ages = await lost_for(self.bus.commands, self.bus.names, instances)
            for name in extra_copies(load(self.engine.paths), long_lost(ages, ())):
                if await self.registry.forget(name):
                    log.info("%s, which was started by hand, has been lost for long: it is forgotten", name)

    def _running(self) -> dict[str, ProcessIdentity]:
        """The programs that supervisord has as running, with the process that each of them is, adopted or not."""
        plan = load(self.engine.paths)
        files, found = pidfiles(self.engine, plan), {}
        kinds = {program.name: program.kind for program in plan.programs}
        for info in self.engine.client().programs():
            if info.state is ProgramState.RUNNING and kinds.get(info.name) in ("node", "root") and info.name in files:
                record = PidFile(files[info.name]).read()
                if record is not None and record.identity.is_alive():
                    found[info.name] = record.identity
        return found

    async def _end(self, name: str, process: ProcessIdentity) -> None:
        log.error("%s (process %d) has not moved for a lease: it hangs, and is killed", name, process.pid)
        self.watchdog.killed(time.monotonic(), name)
        kill(process, signal.SIGUSR1)
        await asyncio.sleep(STACKS)
        kill_group(process)  # with what it forked
