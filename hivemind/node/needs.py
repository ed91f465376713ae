"""A node that waits for what it needs: it begins when that consumes, and not before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import orjson

from ..bell import Bell
from ..burst import Burst
from ..bus.bus import Bus
from ..data.needs import Needed, Party, Wait, in_words, parties, topic_of, wait_of
from ..data.registry import NOTICES, Registry
from ..english import duration
from ..errors import RedisError
from ..states import NodeState
from ..topics import check_instance
from .base import BaseNode

LOOK, LONGEST = 1.0, 5.0  #: seconds from one look at the registry to the next; who begins to consume says so, besides
SHARE = 50  #: a look is paid with so many times its length of rest
SAY = 60.0  #: seconds from one time that it is said who is waited for to the next


class Needs:
    """``met`` returns when what ``node`` needs is there. ``tell`` is called when the registry should be told of it."""

    def __init__(self, node: BaseNode, needs: Needed, bus: Bus, registry: Registry, tell: Callable[[], None]) -> None:
        self._node, self._needs, self._bus, self._registry, self._tell = node, needs, bus, registry, tell
        self._bell, self._burst = Bell(), Burst(SAY)
        self._ring: tuple[str, ...] = ()

    async def met(self, on_wait: Callable[[], None]) -> None:
        """Wait as long as it takes, also for Redis; ``on_wait`` is called when there is something to wait for.

        Nodes that need one another do not wait for one another: which these are is logged.
        """
        if not self._needs.get(self._node.name):
            return
        channel = self._bus.names.control(NOTICES)
        self._bus.live.listen(channel, self._heard)
        try:
            await self._wait(on_wait)
        finally:
            self._bus.live.unlisten(channel, self._heard)

    async def _wait(self, on_wait: Callable[[], None]) -> None:
        node, clock = self._node, asyncio.get_running_loop().time
        since = clock()
        while True:
            began = clock()
            wait = await self._look()
            if not wait.missing:
                break
            text = in_words(wait.missing)
            if node._hm.waits_for != text:
                node._hm.waits_for = text
                node._hm.enter(NodeState.WAITING)
                self._tell()
            self._say(text, clock() - since)
            on_wait()
            rest = min(LONGEST, max(LOOK, SHARE * (clock() - began)))
            await self._bell.wait(rest * random.uniform(0.8, 1.2))
        if node._hm.state is NodeState.WAITING:
            node._hm.waits_for = ""
            node._hm.enter(NodeState.STARTING)
            node.logger.info("what it waited for is there, after %s", duration(clock() - since))

    def _say(self, text: str, waited: float) -> None:
        if self._burst.first() is None:
            return
        if waited < SAY / 2:
            self._node.logger.info("waits for %s: it begins when that consumes", text)
        else:
            self._node.logger.warning("still waits for %s, for %s by now", text, duration(waited))

    async def _look(self) -> Wait:
        try:
            wait = wait_of(self._node.name, self._needs, await self._known())
        except RedisError:
            return Wait(tuple(self._needs[self._node.name]))  # nobody knows
        if wait.ring and wait.ring != self._ring:
            self._ring = wait.ring
            self._node.logger.info("does not wait for %s: they need one another", in_words(wait.ring))
        return wait

    async def _known(self) -> list[Party]:
        """Whoever lives and may matter."""
        if any(topic_of(need) for needs in self._needs.values() for need in needs):
            return parties(await self._registry.instances())
        return parties(await self._registry.instances(self._mentioned()))

    def _mentioned(self) -> frozenset[str]:
        """The nodes and processes in which what is needed runs."""
        mine = set(self._needs[self._node.name])
        return frozenset(mine.union(name for name, needs in self._needs.items() if mine.intersection(needs)))

    def _heard(self, body: bytes) -> None:
        """Look at once when somebody begins to consume."""
        try:
            notice = orjson.loads(body)
            is_one = notice["event"] == "running" and check_instance(notice["instance"])
        except (ValueError, TypeError, KeyError):
            return  # not a notice of ours: anybody may publish there
        if is_one:
            self._bell.ring()
