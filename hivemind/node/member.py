"""What each node of a process has for itself when it starts and stops: hooks, components, subscriptions, services."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from functools import partial

from ..backoff import Backoff
from ..bus.bus import Bus
from ..cancelling import RAISED, end, is_ending
from ..errors import HivemindError, RedisDenied, RedisUnavailable, in_words
from ..log_writer import speaker
from ..states import NodeState
from .base import BaseNode
from .inner import Component
from .needs import Needs
from .places import raised_by_author, reason_of
from .subscription import Subscription

TRY_AGAIN = 0.25  #: seconds between two tries while Redis is away
FIRST_TRY, LONGEST_TRY = 0.5, 60.0  #: seconds from one try to start a member to the next


class Member:
    """One node of a process that is registered. ``announce`` is called before its services run, ``ran`` when they
    do.
    """

    def __init__(
        self, node: BaseNode, bus: Bus, needs: Needs, announce: Callable[[], None], ran: Callable[[], None]
    ) -> None:
        self.node, self._bus, self._needs, self._announce, self._ran = node, bus, needs, announce, ran
        self._is_dressed = self._is_hooked = False
        self._hooked = 0  # so many of its middleware have started
        self._started: list[Component] = []
        self._insisting: asyncio.Task[None] | None = None

    async def start(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Wait for what it needs, make the resources, call ``on_start``, subscribe, start the components, announce the
        topics, start services. ``on_wait`` is called when what it needs is not there yet.

        Raises whatever ``on_start`` or a component raises. Called again, it begins with what raised: what has succeeded
        is not done twice.
        """
        node = self.node
        if not self._is_hooked:
            await self._needs.met(on_wait)
            await self._prepare()
            await _call(node.on_start)
            self._is_hooked = True
            for subscription in node.bound_subscriptions:
                subscription.start()
            await asyncio.gather(*(self._subscribe(one) for one in node.bound_subscriptions))
        for component in node._hm.components[len(self._started) :]:
            await component.start(node)
            self._started.append(component)
        self._announce()
        for service in node.bound_services:
            service.start()

    async def _prepare(self) -> None:
        """What ``on_start`` may use: middleware, resources, durable topics."""
        node = self.node
        if not self._is_dressed:
            node._hm.dress()
            self._is_dressed = True
        await node._hm.resources.make(node)
        if node._hm.sending is not None:
            await node._hm.sending.start(node)
        for middleware in node._hm.chain.all[self._hooked :]:
            await _call(partial(middleware.on_start, node))
            self._hooked += 1

    async def insist(self) -> None:
        """Start it for certain, so that it harms no other: what raises is tried again in the background.

        Returns when it runs, waits for what it needs, or has failed once.
        """
        tried = asyncio.Event()
        self._insisting = asyncio.create_task(self._insist(tried), name=f"start {self.node.name}")
        await tried.wait()

    async def _insist(self, tried: asyncio.Event) -> None:
        node, backoff = self.node, Backoff(FIRST_TRY, LONGEST_TRY, floor=FIRST_TRY / 2)
        speaker.set(node.name)  # in this task, and in all that it starts
        while node._hm.state is not NodeState.RUNNING:
            try:
                await self.start(tried.set)
            except RAISED as error:
                if is_ending(error):
                    raise
                node._hm.start_error, delay = in_words(error), backoff.next()
                trace = raised_by_author(error)
                node.logger.error(
                    "cannot start; it is tried again in %.1f s: %s", delay, reason_of(error), exc_info=trace
                )
                tried.set()
                await asyncio.sleep(delay)
            else:
                node._hm.start_error = ""
                node._hm.enter(NodeState.RUNNING)
                self._ran()
                node.logger.info("running: %s", summary(node))
        tried.set()

    async def _subscribe(self, subscription: Subscription) -> None:
        while True:
            try:
                return await self._bus.subscribe(subscription.live)
            except RedisDenied:
                return None  # told by the bus, which goes on asking
            except RedisUnavailable:
                await asyncio.sleep(TRY_AGAIN)

    async def give_up(self) -> None:
        """Start no more what does not run yet. May be called twice."""
        await end(self._insisting)

    async def stop(self, deadline: float, is_registered: bool) -> None:
        """Stop components, the last one first, call ``on_shutdown``, free the resources; what does not end in time is
        abandoned.
        """
        if self._insisting is not None:
            speaker.set(self.node.name)
        for component in reversed(self._started):
            await self._bounded(f"component {type(component).__name__}", component.stop(self.node), deadline)
        await self.node._hm.gaps.stopped(left(deadline))
        if is_registered:
            await self._bounded("on_shutdown", _call(self.node.on_shutdown), deadline)
        for middleware in reversed(self.node._hm.chain.all[: self._hooked]):
            hook = partial(middleware.on_shutdown, self.node)
            await self._bounded(f"on_shutdown of {type(middleware).__name__}", _call(hook), deadline)
        await self._bounded("freeing the resources", self.node._hm.resources.free(), deadline)
        if self.node._hm.sending is not None:
            await self.node._hm.sending.stop()

    async def _bounded(self, what: str, awaitable: Awaitable[None], deadline: float) -> None:
        try:
            async with asyncio.timeout(left(deadline)):
                await awaitable
        except TimeoutError:
            self.node.logger.error("%s did not end in time and is abandoned", what)
        except Exception:
            self.node.logger.exception("%s failed", what)


def summary(node: BaseNode) -> str:
    """What a node sends and receives, for its log."""
    services = ", ".join(service.name for service in node.bound_services)
    received = [*(one.name for one in node.bound_subscriptions), *(one.name for one in node.bound_durables)]
    patterns = ", ".join(received)
    answers = ", ".join(one.name for one in node.bound_responders)
    parts = [f"sends {services}" if services else "", f"receives {patterns}" if patterns else ""]
    parts.append(f"answers {answers}" if answers else "")
    return "; ".join(filter(None, parts)) or "no services, no subscriptions"


def left(deadline: float) -> float:
    """Seconds until ``deadline``, and a moment when it has passed."""
    return max(0.1, deadline - time.monotonic())


async def _call(hook: Callable[[], Awaitable[None] | None]) -> None:
    """Call ``on_start`` or ``on_shutdown``. What it raises is an Exception, also where it called ``sys.exit()``."""
    try:
        result = hook()
        if inspect.isawaitable(result):
            await result
    except Exception:
        raise
    except RAISED as error:
        if is_ending(error):
            raise
        raise HivemindError(f"it raised {in_words(error)}") from error
