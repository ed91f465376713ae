"""Faults of Redis that it is told to have: connections cut, everything forgotten, no memory; and a storm of all."""

from __future__ import annotations

import asyncio
import signal
import time

from ..bus.commands import pairs_in
from ..cancelling import end
from ..errors import RedisError, RedisRefused, SupervisorError
from ..supervisor.keeper import kill
from .cleaning import forget
from .faults import Fault, Scene, Signalled
from .probe import INSTANCES
from .site import ALL
from .targets import half, meant
from .victims import VICTIM, processes_of

PAUSE = 0.05  #: seconds between two cuts
STORM = 3  #: how often all connections are cut in a storm


class Connections:
    """The connections to Redis of some nodes: they are called after a node, and all its copies alike."""

    def __init__(self, scene: Scene, names: list[str]) -> None:
        self._commands = scene.site.bus.commands
        self.starts = tuple(sorted({f"hm:{name.rpartition('.')[0]}:" for name in names}))
        self.cut: set[str] = set()  # the ids of those that were

    async def there(self) -> dict[str, str]:
        """Their ids with their names."""
        try:
            said = await self._commands.execute("CLIENT", "LIST")
        except RedisError:
            return {}
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        rows = [dict(part.partition("=")[::2] for part in line.split()) for line in text.splitlines()]
        return {row["id"]: row["name"] for row in rows if row.get("name", "").startswith(self.starts)}

    async def kill(self) -> None:
        """Cut them all. Where Redis does not let us, SupervisorError."""
        for number in await self.there():
            try:
                if await self._commands.execute("CLIENT", "KILL", "ID", number):
                    self.cut.add(number)
            except RedisError as error:
                if not self.cut:
                    raise SupervisorError(f"Redis lets us cut no connection: {error}") from None


class Cut(Fault):
    """The connections of instances, or of everybody, are cut again and again for a while."""

    name = "cut node"
    lasts = 5.0

    async def prepare(self) -> None:
        """Find whom."""
        if self.target == "redis":
            self.name = "cut redis"
            names = [*self.site.expected(), *INSTANCES]
        else:
            names = [*processes_of(self.scene, self.target)]
        self.connections = Connections(self.scene, names)
        self.cutting: asyncio.Task[None] | None = None

    async def inject(self) -> None:
        """Begin."""
        if not await self.connections.there():
            raise SupervisorError(f"{self.target} has no connection that one could cut")
        await self.connections.kill()
        self.cutting = asyncio.create_task(self._cut())

    async def _cut(self) -> None:
        until = time.monotonic() + self.lasts
        while time.monotonic() < until:
            await asyncio.sleep(PAUSE)
            await self.connections.kill()

    async def happened(self) -> bool:
        """Whether one was cut."""
        return bool(self.connections.cut)

    async def noticed(self) -> bool:
        """Whether one was made again."""
        return bool(self.connections.cut - {*await self.connections.there()}) and bool(await self.connections.there())

    async def heal(self) -> None:
        """Stop."""
        await end(self.cutting)

    async def is_back(self) -> bool:
        """Whether each has a connection."""
        there = (await self.connections.there()).values()
        return all(any(name.startswith(start) for name in there) for start in self.connections.starts)


class Flush(Fault):
    """Redis forgets everything of this hive."""

    name = "flush redis"
    harms_all = True

    async def prepare(self) -> None:
        """Find who has to register again."""
        self.target = "redis"
        self.names = [one.instance for one in self.site.seen.values() if not one.is_lost]
        self.is_forgotten = False

    async def inject(self) -> None:
        """Let it forget."""
        await forget(self.site.bus.commands, self.site.bus.names)
        self.is_forgotten = True

    async def happened(self) -> bool:
        """Whether it was done: Redis says so."""
        return self.is_forgotten

    async def noticed(self) -> bool:
        """Whether somebody has registered again."""
        return self.site.is_readable and bool(self.site.lives(self.names))

    async def is_back(self) -> bool:
        """Whether everybody has."""
        return len(self.site.lives(self.names)) == len(self.names)


class Fill(Fault):
    """Redis has no memory left for a while: it takes no kept message."""

    name = "fill redis"
    lasts = 5.0
    NO_ROOM = {"maxmemory-policy": "noeviction", "maxmemory": "1"}  # noqa: RUF012  # the order matters: nothing is evicted

    async def prepare(self) -> None:
        """Remember how it is set. Of a Cluster the home would have to be healed, wherever it is by then."""
        self.target = "redis"
        if self.site.bus.endpoint.is_cluster:
            raise SupervisorError("fill is for a hive on one Redis, and this one is on a Cluster")
        said = pairs_in(await self.site.bus.commands.execute("CONFIG", "GET", "maxmemory*"))
        text = {_text(name): _text(value) for name, value in said.items()}
        self.before: dict[str, str] = {name: text[name] for name in ("maxmemory", "maxmemory-policy") if name in text}
        self.began = time.monotonic()

    async def inject(self) -> None:
        """Give it no room; the healer gives it back, if we cannot."""
        await self.scene.healer.configure(self.before)
        self.began = time.monotonic()
        for name, value in self.NO_ROOM.items():
            await self.site.bus.commands.execute("CONFIG", "SET", name, value)

    async def happened(self) -> bool:
        """Whether it takes nothing."""
        try:
            await self.site.bus.commands.execute("SET", self.site.bus.names.control("drill"), "", "PX", 1)
        except RedisRefused:
            return True
        return False

    async def noticed(self) -> bool:
        """Whether a probe was told that its messages are not taken."""
        return any(at > self.began for at in self.scene.crew.books.trouble)

    async def heal(self) -> None:
        """Give it back what it had, the memory first."""
        for name, value in self.before.items():
            await self.site.bus.commands.execute("CONFIG", "SET", name, value)


class Storm(Signalled):
    """Half of all instances and a probe are killed, and all connections cut, three times."""

    name = "storm"
    harms_all = True

    async def prepare(self) -> None:
        """Find whom."""
        self.target = ALL
        there = meant(ALL, self.site.programs(), list(self.site.seen.values()))
        processes = {one.instance: one.about.process for one in half(there) if one.about.process is not None}
        self.remember(processes)
        self.hit.add(VICTIM)
        self.connections = Connections(self.scene, [*self.site.expected(), *INSTANCES])

    async def inject(self) -> None:
        """Do all of it."""
        for one in self.victims.values():
            kill(one, signal.SIGKILL)
        self.scene.crew.kill(VICTIM)
        for _ in range(STORM):
            await self.connections.kill()
            await asyncio.sleep(PAUSE)

    async def noticed(self) -> bool:
        """Whether somebody has said that one ended."""
        return self.is_known()


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
