"""The hive in which a drill takes place, as the drill sees it: its processes, its registry, its Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from ..bus.bus import Bus
from ..bus.credentials import HIVED
from ..bus.embedded import Embedded
from ..bus.endpoint import Endpoint
from ..bus.server_info import info_in, server_name
from ..data.heirs import ENDED
from ..data.records import Instance
from ..data.registry import Registry
from ..errors import RedisError, SupervisorError
from ..identity import PidFile, ProcessIdentity
from ..supervisor.actions import Request, Verb
from ..supervisor.client import ProgramState
from ..supervisor.control import ask
from ..supervisor.engine import Engine, redis_url
from ..supervisor.lives import MANY
from ..supervisor.plan import load
from ..supervisor.processes import ROOT_INSTANCE
from ..supervisor.render import LISTENER
from ..supervisor.status import ProgramStatus, status
from ..supervisor.topology import Program
from .probe import PREFIX

EYE = f"{PREFIX}-eye.0"  #: the name of the drill's own connections
QUICK = 1.0  #: seconds within which supervisord and hived have to answer
FAILING = ("failing", "exited", "quarantined")
ALL = "@all"
NOT_HERE = "hived does not run this hive here: `hived start`"


class Site:
    """One hive that runs. On the loop on which it was opened; ``async with`` connects it."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.settings = engine, engine.settings
        self.url = redis_url(engine.settings)
        self.bus = Bus(Endpoint.parse(self.url, engine.paths.var, HIVED), engine.settings.name, EYE)
        self.registry = Registry(self.bus.commands, self.bus.functions, self.bus.names)
        self.ended: set[str] = set()  # the instances of which hived, or they themselves, said that they ended
        self.seen: dict[str, Instance] = {}  # as the registry had them last
        self.is_readable = True  # whether it could be read when we looked last

    async def __aenter__(self) -> Site:
        self.bus.start()
        self.bus.live.listen(self.bus.names.control(ENDED), self._hear)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bus.aclose()

    def _hear(self, body: bytes) -> None:
        try:
            self.ended.add(str(orjson.loads(body)["instance"]))
        except (ValueError, TypeError, KeyError):
            return

    async def look(self) -> None:
        """Read the registry; while it cannot be read, what was seen last stays."""
        try:
            async with asyncio.timeout(QUICK):
                self.seen = {one.instance: one for one in await self.registry.instances()}
                self.is_readable = True
        except (RedisError, TimeoutError):
            self.is_readable = False

    def lives(self, names: Sequence[str]) -> dict[str, int]:
        """The incarnations of those among ``names`` that live and run."""
        return {
            name: one.incarnation
            for name in names
            if (one := self.seen.get(name)) is not None and not one.is_lost and one.stats.state == "running"
        }

    def programs(self) -> tuple[Program, ...]:
        """What hived runs."""
        return load(self.engine.paths).programs

    def expected(self) -> list[str]:
        """The instances that hived runs, the root among them."""
        return [ROOT_INSTANCE if one.kind == "root" else one.name for one in self.programs() if one.kind != "redis"]

    async def failing(self) -> list[ProgramStatus]:
        """The programs that end again and again, also if one lives just now, and nodes that cannot be loaded."""
        found = await asyncio.to_thread(status, self.engine, ask_redis=False)
        return [one for one in found.programs if one.state in FAILING or one.failures >= MANY]

    def supervisord(self) -> ProcessIdentity | None:
        """Supervisord, if it lives."""
        return self.engine.supervisord()

    def redis(self) -> ProcessIdentity:
        """The hive's own Redis. Raises SupervisorError where it has none, or that does not run."""
        if self.settings.redis_url:
            where = self.settings.sources["REDIS_URL"]
            raise SupervisorError(f"this hive's Redis is not its own ({where}): kill or freeze it where it runs")
        found = Embedded.of(self.settings).pidfile.living()
        if found is None:
            raise SupervisorError("the hive's own Redis does not run: `hived start`")
        return found

    def living_supervisord(self) -> ProcessIdentity:
        """The same. Raises SupervisorError where it does not live."""
        found = self.supervisord()
        if found is None:
            raise SupervisorError(NOT_HERE)
        return found

    async def has_all_programs(self) -> bool:
        """Whether supervisord answers, and has a process for every program."""
        try:
            programs = await asyncio.to_thread(self.engine.client(QUICK).programs)
        except SupervisorError:
            return False
        return {one.name for one in self.programs()} <= {one.name for one in programs if one.pid}

    async def hived(self) -> ProcessIdentity:
        """Hived's own process. Raises SupervisorError where it does not run."""
        found = await self.supervised(LISTENER)
        if found is None:
            raise SupervisorError(NOT_HERE)
        return found

    async def hived_answers(self) -> bool:
        """Whether hived says that it heard what it is asked."""
        try:
            return bool(await ask(self.bus.endpoint, self.settings.name, Request(Verb.FIND, (ALL,)), QUICK, QUICK))
        except RedisError:
            return False

    async def supervised(self, name: str) -> ProcessIdentity | None:
        """The process of a program or listener that supervisord has as running; None if there is none."""
        try:
            info = await asyncio.to_thread(self.engine.client(QUICK).program, name)
        except SupervisorError:
            return None
        return ProcessIdentity.of(info.pid) if info.pid and info.state is ProgramState.RUNNING else None

    def pidfile(self, program: str) -> PidFile:
        """What names the process of a program."""
        return PidFile(self.engine.paths.program_pid(program))

    def hived_says(self) -> Callable[[str], bool]:
        """A function that tells whether hived has written a text to its log from now on."""
        log = self.settings.log_file("hived")
        return said_in(log, size(log))

    async def server(self) -> str:
        """Which server it is: "Valkey 9.1.2"."""
        try:
            said = await self.bus.commands.execute("INFO", "server")
        except RedisError:
            return "unknown"
        return server_name(info_in(said)) or "unknown"


def first_node(engine: Engine) -> str:
    """An instance that hived runs on this machine. Raises SupervisorError where there is none."""
    found = [one.name for one in load(engine.paths).programs if one.kind == "node"]
    if not found:
        raise SupervisorError("hived runs no node of this hive here: there is nothing to break")
    return min(found)


def said_in(log: Path, since: int) -> Callable[[str], bool]:
    """A function that tells whether a text has been written to a log after its first ``since`` bytes."""

    def is_said(text: str) -> bool:
        try:
            with log.open("rb") as file:
                file.seek(since if log.stat().st_size >= since else 0)
                return text.encode() in file.read()
        except OSError:
            return False

    return is_said


def size(log: Path) -> int:
    """How long a log is; 0 where there is none."""
    try:
        return log.stat().st_size
    except OSError:
        return 0
