"""A look at the whole hive, or many, until it is well."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ..bus.commands import Commands
from ..errors import RedisError
from ..picture.declared import declared
from ..picture.durable import DurableView
from ..picture.health import Health
from ..picture.limits import Figures, Limits
from ..picture.snapshot import Snapshot, nodes_of, view_of
from ..picture.state import said_by_redis
from ..settings import Settings
from .context import redis_address
from .reading import durability_of, inquire, registry

PAUSE = 0.2  #: seconds between two looks


@dataclass(frozen=True, slots=True)
class Look:
    """A hive as it was seen, and how well that is within the limits of who asks."""

    snapshot: Snapshot
    health: Health

    @property
    def is_last(self) -> bool:
        """Whether waiting leads nowhere: it is well, or nodes are in quarantine, or kept to the code or settings of
        before, until somebody mends a file.
        """
        should = self.snapshot.state.should
        is_kept = bool(should.problems or should.settings) or any(one.fault for one in should.programs.values())
        return self.health.is_well or is_kept


def look(settings: Settings, wait: float = 0.0, limits: Limits | None = None) -> Look:
    """Look at the hive until it is well, for ``wait`` seconds at the most."""
    until = time.monotonic() + wait
    while True:
        seen = _look(settings, limits or Limits())
        if seen.is_last or time.monotonic() >= until:
            return seen
        time.sleep(min(PAUSE, max(0.0, until - time.monotonic())))


def _look(settings: Settings, limits: Limits) -> Look:
    try:
        snapshot = read_snapshot(settings)
    except RedisError as error:
        snapshot = Snapshot(settings.name, redis_address(settings), why=str(error))
    health = snapshot.health
    return Look(snapshot, replace(health, troubles=(*health.troubles, *limits.beyond(Figures.of(snapshot)))))


def read_snapshot(settings: Settings) -> Snapshot:
    """The hive as it is now; nothing of it has a rate. Raises RedisError in words that say what to do."""

    async def read(commands: Commands) -> Snapshot:
        instances = await registry(commands).instances()
        views = [view_of(one) for one in instances]
        durable = DurableView(await durability_of(commands, instances))
        state = await said_by_redis(commands, instances)
        where = redis_address(settings)
        return Snapshot(settings.name, where, time.time(), nodes=nodes_of(views), durable=durable, state=state)

    seen = inquire(settings, read)
    return replace(seen, state=replace(seen.state, should=declared(settings)))
