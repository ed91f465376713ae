"""A primary that is replaced by its replica on purpose, where a hive's Redis has one: by Sentinels, or in a Cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..bus.cluster import Address, slot_of
from ..bus.commands import Commands
from ..errors import HivemindError, RedisError, SupervisorError
from .faults import Fault, Scene
from .site import EYE

SENTINEL, CLUSTER = "sentinel", "cluster"


class Failover(Fault):
    """The primary that has the hive's registry is replaced. It is timed from when Sentinels, or the Cluster, say so."""

    harms_all = True

    def __init__(self, scene: Scene, target: str) -> None:
        super().__init__(scene, target)
        self.endpoint = self.site.bus.endpoint
        self.within = 30.0
        self.target = CLUSTER if self.endpoint.is_cluster else SENTINEL
        self.name = f"failover {self.target}"
        self.before: Address | None = None

    async def prepare(self) -> None:
        """Find the primary. Raises SupervisorError where it has nobody who could replace it."""
        if not (self.endpoint.is_cluster or self.endpoint.is_sentinel):
            raise SupervisorError(
                "failover is for a hive with replicas, behind Sentinels (redis+sentinel://) or on a Cluster "
                "(redis+cluster://): this one has a single Redis"
            )
        self.before = await self._primary()
        self.gaps = self.site.bus.outbox.link.gaps

    async def inject(self) -> None:
        """Ask for it. Raises SupervisorError if that is refused."""
        if self.endpoint.is_cluster:
            await self._told(await self._replica(), "CLUSTER", "FAILOVER")
            return None
        said: HivemindError | None = None
        for address in self.endpoint.sentinels:
            try:
                return await self._told(address, "SENTINEL", "FAILOVER", self.endpoint.service)
            except (RedisError, SupervisorError) as error:
                said = error
        raise SupervisorError(f"no Sentinel replaces the primary: {said}")

    async def happened(self) -> bool:
        """Whether another server is the primary."""
        try:
            now = await self._primary()
        except RedisError:
            return False
        if now in (None, self.before):
            return False
        self.since = time.monotonic()
        return True

    async def noticed(self) -> bool:
        """Whether a connection to the old one was given up, or the new one is asked."""
        return self.site.bus.outbox.link.gaps > self.gaps or (self.endpoint.is_cluster and self.site.is_readable)

    async def _told(self, address: Address, *command: str) -> None:
        """Tell a Sentinel or a server something, and see that it agrees. Raises RedisError where it is away, and
        SupervisorError where it refuses.
        """
        connection = await (self._sentinel(address) if self.endpoint.is_sentinel else self._server(address))
        try:
            await connection.send_command(*command, check_health=False)
            await connection.read_response()
        except Exception as error:
            raise SupervisorError(f"{address[0]}:{address[1]} does not do it: {error}") from error
        finally:
            await connection.disconnect(nowait=True)

    async def _sentinel(self, address: Address) -> Any:
        return await self.endpoint.open_sentinel(address)

    async def _server(self, address: Address) -> Any:
        return await self.endpoint.at(address).open(EYE)

    async def _primary(self) -> Address | None:
        """Who it is now. Raises RedisError."""
        if self.endpoint.is_sentinel:
            return await self.endpoint.primary()
        home = await self._home()
        return home[0] if home else None

    async def _replica(self) -> Address:
        """A replica of the home. Raises SupervisorError if it has none."""
        home = await self._home()
        if len(home) < 2:
            raise SupervisorError("the primary that has this hive's registry has no replica: nobody could replace it")
        return home[1]

    async def _home(self) -> Sequence[Address]:
        """The primary and the replicas of the slot that has the hive's registry, as the Cluster says."""
        async with Commands(self.endpoint, EYE) as commands:
            slots = await commands.execute("CLUSTER", "SLOTS")
        slot = slot_of(self.site.settings.name)
        for first, last, *servers in slots:
            if first <= slot <= last:
                return [(host.decode(), int(port)) for host, port, *_ in servers]
        return []
