"""The home of a hive on a Cluster: when another server serves it, every connection to the old one is let go.

Nodes are asked at every connect who serves it; but a home that stands still keeps its connections, and one that was
demoted says so only to who asks it for a key. So it is asked for one now and then. While it does not answer, or not all
connections lead to one server, other nodes are asked who serves it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection

from redis.asyncio import connection as connections

from ..errors import RedisDenied, RedisError, RedisUnavailable
from .cluster import Address, learn, slot_of
from .commands import Commands
from .endpoint import Endpoint
from .watch import Watch

log = logging.getLogger("hivemind.redis")

ASK = 1.0  #: seconds, about, between two questions
PATIENCE = 1.0  #: seconds that the home may take for an answer before others are asked about it


class HomeWatch(Watch):
    """Asks from ``start`` to ``aclose`` where the home of ``endpoint`` is."""

    def __init__(self, endpoint: Endpoint, commands: Commands) -> None:
        super().__init__(endpoint, commands)
        self._nodes: Collection[Address] = ()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ASK * random.uniform(0.8, 1.2))
            try:
                if not await self._answers() or len(self._endpoint.peers.addresses) > 1:
                    await self._ask_others()
            except RedisError as error:
                log.debug("nobody says where the home is: %s", error)
            except Exception:
                log.exception("a fault of ours; the home is asked again")

    async def _answers(self) -> bool:
        """Whether the home is where we ask; if it is elsewhere, we ask there next, and so will all others."""
        try:
            async with asyncio.timeout(PATIENCE):
                for _ in range(2):  # a server that is it no more says so over the old connection
                    try:
                        await self._commands.execute("EXISTS", self._endpoint.names.nodes())
                    except RedisUnavailable:
                        continue
                    return True
        except TimeoutError:
            pass
        except RedisDenied:
            return True
        return False

    async def _ask_others(self) -> None:
        """Ask those to whom no connection leads; all connections are to lead where they say. Raises RedisError."""
        old = self._endpoint.peers.addresses
        others = {*self._endpoint.seeds, *self._nodes} - old
        found = await learn(others or old, self._open)
        self._nodes = found.nodes
        home = found.primary(slot_of(self._endpoint.hive))
        if home is not None and found.is_ok:
            self._endpoint.moved(home)

    async def _open(self, address: Address) -> connections.AbstractConnection:
        return await self._endpoint.at(address).open("hm:map")
