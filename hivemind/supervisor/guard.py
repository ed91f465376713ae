"""The watchdog's hands: reads the registry, lets Watchdog judge, and kills what hangs.

Most looks are cheap: they ask Redis only when the leases of our own programs end. The whole registry is read every SEE
seconds, and where that takes long, more seldom.

Who hung before we began is found, too: Redis knows for a day which process had a lease last, and did not give it back.
Of who never had one, or whose lease Redis has forgotten, nobody can tell whether it hangs or takes its time to start;
but one that was stopped by a signal, and stays so for a lease, does not start.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from ..bus.bus import Bus
from ..bus.jumps import Jumps
from ..data.directory import Directory
from ..data.records import Instance
from ..data.registry import Registry
from ..errors import RedisError, SupervisorError
from ..identity import ProcessIdentity
from .engine import Engine
from .keeper import kill, kill_group
from .leftovers import extra_copies, long_lost, lost_for
from .lives import say_hung
from .processes import ROOT, ROOT_INSTANCE
from .running import Running
from .standing import is_held, is_stopped
from .watchdog import Late, Watchdog

log = logging.getLogger("hived")

LOOKS, CLOSE_LOOKS = 8, 24  # in a lease, where nobody is late, and where somebody is
SEE = 5.0  # seconds between looks at the whole registry, at least, and between all looks, at the most
SHARE = 50  # such a look is paid with so many times its length of rest
STACKS = 1.0  # seconds that a hung program gets to write its stacks
NO_LEASE = -1  # the end of a lease that there is not

_Claim = tuple[ProcessIdentity, str]
"""A process, and the instance that says that it is this one."""


class Guard:
    """Looks a few times a lease; while Redis is away, or refuses, nobody is judged."""

    def __init__(self, engine: Engine, registry: Registry, bus: Bus, running: Running) -> None:
        self.engine, self.registry, self.bus, self.running = engine, registry, bus, running
        self.watchdog, self._clock = Watchdog(), Jumps()
        self._mine: dict[_Claim, Instance] = {}  # our programs' instances, by what they say that they are
        self._running: Mapping[str, ProcessIdentity] | None = None  # as last seen, if all of these are registered
        self._watched: Mapping[str, tuple[str, Instance]] = {}  # who is to be late or not, as ``_registered`` gave it
        self._strangers: Mapping[str, ProcessIdentity] = {}  # who runs, and has no lease that we know of
        self._next = 0.0  # when the whole registry is to be read
        self.instances: list[Instance] = []  # as last seen
        self.on_look: Callable[[Sequence[Instance]], None] = lambda _: None
        self._slow = 3 * min(engine.settings.constants.LEASE / LOOKS, SEE)  # seconds: who needs more, stood still
        self._directory, self._mode = Directory(bus.commands, bus.functions, bus.names), ""

    async def run(self) -> None:
        """Watch for ever."""
        lease = self.engine.settings.constants.LEASE
        while True:
            is_quiet = self.watchdog.is_calm and bool(self._watched)  # nobody is watched yet: we have just begun
            before, looks = time.monotonic(), LOOKS if is_quiet else CLOSE_LOOKS
            await asyncio.sleep(min(lease / looks, SEE))
            if time.monotonic() - before > self._slow:
                self.watchdog.away()  # we ourselves were stopped: so may have been all others
            try:
                await self._look()
            except RedisError:
                self.watchdog.away()
            except SupervisorError:
                continue

    async def _look(self) -> None:
        await self._see()
        if self._running is None or self.running.known() is not self._running:
            running = await asyncio.to_thread(self.running.now)
            self._watched = await self._registered(running)
            self._running = None if self._strangers else running
        late = await self._late(self._watched) | self._stopped()
        hung = self.watchdog.observe(time.monotonic(), late)
        if hung and not self.engine.paths.stopping.exists():
            await asyncio.gather(*(self._end(name, process) for name, process in hung))

    async def _see(self) -> None:
        """Look at everybody, if it is time."""
        began = time.monotonic()
        if began < self._next:
            return
        await self._look_at_patterns()
        instances = self.instances = await self.registry.instances()
        self.on_look(instances)
        await self._forget(instances)
        await self.registry.forget_strays()  # else everybody would look for them at every reading
        seen = {(one.about.process, one.instance): one for one in instances if one.about.process is not None}
        held = {instance: process for process, instance in seen}
        self._mine = {claim: one for claim, one in self._mine.items() if held.get(claim[1], claim[0]) == claim[0]}
        self._mine |= seen
        self._running = None
        now = time.monotonic()
        self._next = now + max(SEE, SHARE * (now - began))

    async def _registered(self, running: Mapping[str, ProcessIdentity]) -> dict[str, tuple[str, Instance]]:
        """Our programs that have registered, but for those that are debugged: by instance. Those that hang for longer
        than their lease are not in the registry any more.
        """
        new = [name for name, process in running.items() if self._claim(name, process) is None]
        for one in await self.registry.last([instance for name in new for instance in self._names(name)]):
            if one.about.process is not None:
                self._mine[one.about.process, one.instance] = one
        claims = {name: claim for name, process in running.items() if (claim := self._claim(name, process)) is not None}
        self._mine = {claim: self._mine[claim] for claim in claims.values()}
        self._strangers = {name: process for name, process in running.items() if name not in claims}
        mine = [(name, self._mine[claim]) for name, claim in claims.items()]
        return {one.instance: (name, one) for name, one in mine if one.about.watched}

    def _claim(self, program: str, process: ProcessIdentity) -> _Claim | None:
        """What of ``_mine`` is that program. Another node may say of itself that it is that process: it is not
        believed, or one that beats no more would have another one killed.
        """
        claims = ((process, instance) for instance in self._names(program))
        return next((claim for claim in claims if claim in self._mine), None)

    def _names(self, program: str) -> set[str]:
        """The instances of which a program may be one: of roots each has the number that was free."""
        if program != ROOT:
            return {program}
        return {ROOT_INSTANCE, *(one.instance for one in self.instances if one.node == ROOT)}

    def _stopped(self) -> dict[str, Late]:
        """Who was stopped by a signal, of those that have no lease: as if it had just ended."""
        lease = self.engine.settings.constants.LEASE
        return {
            name: Late(process, lease, NO_LEASE) for name, process in self._strangers.items() if is_stopped(process)
        }

    async def _late(self, watched: Mapping[str, tuple[str, Instance]]) -> dict[str, Late]:
        """Who of these is late, by program, but for those that a debugger holds. Where Redis was slow to say so,
        nothing is counted against anybody.
        """
        asked = time.monotonic()
        told, ends = await self.registry.late({instance: one.about.lease for instance, (_, one) in watched.items()})
        answered = time.monotonic()
        if self._clock.saw(told, asked, answered) or answered - asked > self._slow:
            self.watchdog.away()
        found = {}
        for instance, expires in ends.items():
            name, one = watched[instance]
            if one.about.process is not None and not is_held(one.about.process):
                found[name] = Late(one.about.process, one.about.lease, expires)
        return found

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
            for name in extra_copies(self.running.plan(), long_lost(ages, ())):
                if await self.registry.forget(name):
                    log.info("%s, which was started by hand, has been lost for long: it is forgotten", name)

    async def _end(self, name: str, process: ProcessIdentity) -> None:
        log.error("%s (process %d) has not moved for a lease: it hangs, and is killed", name, process.pid)
        if not is_stopped(process) and await self._moves(name, process):
            self.watchdog.spared(name)
            return
        self.watchdog.killed(time.monotonic(), name)
        say_hung(self.engine.paths, name, process.pid)
        kill_group(process)  # with what it forked

    async def _moves(self, name: str, process: ProcessIdentity) -> bool:
        """Whether it goes on after all, or has ended, while it was to write its stacks."""
        mine = [instance for instance, (program, _) in self._watched.items() if program == name]
        if mine:  # else it was stopped, goes on, and may not yet know what the signal means
            kill(process, signal.SIGUSR1)
            await asyncio.sleep(STACKS)
            if not process.is_alive():
                return True
            holders = [one.about.process for one in await self.registry.last(mine)]
            if process not in holders or await self._late({one: self._watched[one] for one in mine}):
                return False
        log.warning("%s (process %d) goes on after all, and is left alone", name, process.pid)
        return True
