"""The life of one process on the bus, from looking for Redis to saying goodbye."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

import orjson

from ..burst import Burst
from ..bus.bus import Bus
from ..cancelling import end
from ..data.heartbeat import Heart
from ..data.kept_watch import KeptWatch
from ..data.needs import needed
from ..data.records import About
from ..data.registry import NOTICES, Registry
from ..data.resolution import Resolution
from ..data.responders import Responders
from ..data.standby import Standby
from ..english import amount
from ..errors import HivemindError, InstanceHeld, LayoutMismatch, RedisDenied, RedisError, SendError
from ..identity import ProcessIdentity, this_host
from ..log import known_as
from ..patterns import RESOLVED, PatternTable
from ..settings import Settings
from ..states import NodeState
from ..topics import check_instance
from .base import BaseNode
from .member import TRY_AGAIN, Member, left, summary
from .needs import Needs
from .payload_types import payload_types
from .relay import Relay
from .subscription import Subscription
from .succession import LEAVING, LOOK, Succession, places

GOODBYE = 1.5  #: seconds of STOP_TIMEOUT that are kept for flushing and deregistering
DEBUGGED_LEASE = 3600.0  #: seconds that a node under a debugger may stand still


@dataclass(frozen=True, slots=True)
class Place:
    """Which copy of its node a process is to be: exactly ``number``, or the lowest free one from it on.

    With more than one of ``copies`` it is any of so many, from ``number`` on: where none is free it waits for one.
    """

    number: int = 0
    is_fixed: bool = False
    relay: Relay | None = None  # by which processes of this program hand over to each other
    is_successor: bool = False  # it takes over from the process that has this place
    copies: int = 1

    def after(self, number: int) -> int:
        """Which number to try when ``number`` is held: the next one, or where it has to be one of ours the first."""
        return self.number + (number - self.number + 1) % self.copies if self.is_fixed else number + 1


class Life:
    """Runs a bound node: ``start``, then ``stop`` when ``ended`` is set or whenever one wants.

    ``ended`` is set when the node has to stop by itself: because a newer incarnation exists, or its start failed.
    """

    def __init__(self, node: BaseNode, settings: Settings, bus: Bus, place: Place, version: str) -> None:
        self.node, self.settings, self.bus, self.place = node, settings, bus, place
        self.registry = Registry(bus.commands, bus.functions, bus.names, settings.constants.PATTERNS)
        self._standbys: dict[str, Standby] = {}
        self.ended = asyncio.Event()
        self.about = about(node, settings, version)
        self.heart = Heart(bus, self.registry, self.about, node._hm.stats, self._fenced, self._again)
        self._members = [self._member(each) for each in node._hm.hosted()]
        self._registered = False
        self._entering: tuple[str, asyncio.Task[int]] | None = None
        self._patience = Burst(60.0)
        self._resolution: Resolution | None = None
        self._kept_watch = KeptWatch(bus)
        self._wanted: PatternTable[Subscription] = PatternTable()
        self._succession: Succession | None = None
        if place.is_successor and place.relay is not None:
            instance = f"{node.name}.{place.number}"
            self._succession = Succession(place.relay, bus, instance, node.bound_subscriptions)

    # -- start

    async def start(self) -> None:
        """Find Redis, register, then start the node, or the several that share this process.

        It waits for Redis as long as it takes. Raises whatever ``on_start`` or a component raises, unless the process
        is shared: then that one is tried again, and the others run.
        """
        node = self.node
        node._hm.connected(self.bus, self.registry, self.settings)
        node._hm.enter(NodeState.STARTING)
        self.bus.requests.looking.lives = Responders(self.bus.commands, self.bus.functions, self.bus.names)
        self.bus.start()
        if self._succession is not None:
            await self._succession.wait(resolved=self.settings.constants.PATTERNS == RESOLVED)
        instance, incarnation = await self._register()
        if self._succession is not None:
            self._succession.take()
        self.bus.identify(instance, incarnation)
        known_as(instance)
        self._registered = True
        node.logger = node.logger.manager.getLogger(instance)
        self._keep_patterns()
        self.heart.start(self.settings.constants.HEARTBEAT)
        for subscription in node.bound_subscriptions:
            self._wanted.add(subscription.name, subscription)
        if node.bound_subscriptions:
            self._kept_watch.start()
            self.bus.live.listen(self.bus.names.control(NOTICES), self._heard_notice)
        if node._hm.hosted() == [node]:
            await self._members[0].start()
            what = summary(node)
        else:
            await asyncio.gather(*(member.insist() for member in self._members))
            what = ", ".join(each.name for each in node._hm.hosted())
        node._hm.enter(NodeState.RUNNING)
        self._ran()
        node.logger.info("running: %s", what)

    def _member(self, node: BaseNode) -> Member:
        wanted = {} if self.place.is_successor else needed(self.settings.constants.NODES)  # it went on
        needs = Needs(node, wanted, self.bus, self.registry, self.heart.beat_now)
        return Member(node, self.bus, needs, self._joined, self._ran)

    def _ran(self) -> None:
        """Tell those who wait for it, when they can see in the registry that it consumes."""
        self.heart.beat_now(then=lambda: self._notify("running"))

    async def _register(self) -> tuple[str, int]:
        number = self.place.number
        while True:
            instance = f"{self.node.name}.{number}"
            try:
                incarnation = await self._enter(instance)
            except InstanceHeld as held:
                self.bus.outage.back(self)
                if self._succession is not None:
                    await asyncio.sleep(LOOK)
                    continue
                following = self.place.after(number)
                if following > number and (held.expires or self.place.is_fixed):
                    number = following
                    continue
                number = min(number, following)  # who may be dead is given time to show himself
                self.node._hm.enter(NodeState.STANDBY)
                if self._patience.first() is not None:
                    self.node.logger.warning("standing by: %s", held)
                await asyncio.sleep(min(TRY_AGAIN * 4, self.settings.constants.LEASE / 6))
            except RedisError as error:
                self.bus.outage.failed(self, error)
                for standby in self._standbys.values():
                    standby.start_afresh()
                await asyncio.sleep(TRY_AGAIN * (20 if isinstance(error, RedisDenied) else 1))
            else:
                self.bus.outage.back(self)
                self.node._hm.enter(NodeState.STARTING)
                return instance, incarnation

    async def _enter(self, instance: str) -> int:
        standby = self._standbys.setdefault(instance, Standby(self.registry, self.settings.constants.LEASE))
        registering = asyncio.create_task(standby.register(instance, self.about, self.node._hm.stats()))
        self._entering = (instance, registering)
        return await asyncio.shield(registering)

    def _keep_patterns(self) -> None:
        """Keep patterns as the hive does since it started, whatever our settings say by now."""
        kept, wanted = self.registry.patterns, self.settings.constants.PATTERNS
        if kept != wanted:
            self.node.logger.error(
                'PATTERNS is "%s", but this hive runs with "%s", and so does this process: that changes only while '
                "nobody lives. Stop the whole hive, on every host, then start it",
                wanted,
                kept,
            )
        if kept == RESOLVED:
            self._resolution = Resolution(self.bus)
            self._resolution.start(service.name for service in self.node.bound_services)

    def _again(self) -> None:
        if self.registry.kept != self.registry.patterns:
            self.node.logger.error(
                'Redis lost its data, and somebody began this hive anew with PATTERNS = "%s", while this process runs '
                'with "%s": messages pass by until the whole hive was stopped, on every host, and started',
                self.registry.kept,
                self.registry.patterns,
            )
        self._joined()
        self.bus.requests.answering.again()
        if self._resolution is not None:
            self._resolution.again()

    def _joined(self) -> None:
        self._notify("joined")

    def _notify(self, event: str) -> None:
        topics = [service.name for service in self.node.bound_services]
        notice = {"event": event, "instance": self.bus.instance, "incarnation": self.bus.incarnation, "topics": topics}
        self.bus.notify(NOTICES, notice)

    def _heard_notice(self, body: bytes) -> None:
        """Listen to the beats of whoever joins and will send what we receive: its first message may be lost."""
        try:
            notice = orjson.loads(body)
            instance, topics = check_instance(notice["instance"]), [str(topic) for topic in notice.get("topics", ())]
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # not a notice of ours: anybody may publish there
        if notice.get("event") == "joined" and any(map(self._wanted.of, topics)):
            self.bus.watch_sender(instance)

    def _fenced(self, why: HivemindError) -> None:
        self.node.logger.error("%s; this left-over stops", why)
        self.node._hm.enter(NodeState.FENCED)
        self.ended.set()

    # -- stop

    async def stop(self, timeout: float) -> None:
        """End politely within ``timeout`` seconds: stop services; handle what was received; stop components; call
        ``on_shutdown``; flush the outbox; deregister; close. What does not end in time is given up and named.
        """
        deadline = time.monotonic() + timeout
        is_fenced = self.node._hm.state is NodeState.FENCED
        for member in self._members:
            await member.give_up()
        if not is_fenced:
            self.node._hm.enter(NodeState.STOPPING if self._registered or self.bus.incarnation else self._unstarted())
            self.heart.beat_now()
        await self._stop_services(deadline - GOODBYE)
        follows = self._followed(is_fenced=is_fenced)
        await self._empty_inboxes(deadline - GOODBYE)
        if follows is not None:
            follows.leave(places(self.node.bound_subscriptions))
        await asyncio.gather(*(one.stop(deadline - GOODBYE, self._registered) for one in self._members))
        if not self._registered:
            await self._take_back(deadline)
        elif not is_fenced:
            await self._say_goodbye(deadline)
        await self.heart.stop()
        if self._resolution is not None:
            await self._resolution.stop()
        await self._kept_watch.stop()
        await self.bus.aclose()
        self.node._hm.enter(NodeState.STOPPED)

    def _followed(self, *, is_fenced: bool) -> Relay | None:
        """If another process takes over from us: tell it that what comes from now on is its own."""
        relay = self.place.relay
        if relay is None or is_fenced or not self._registered or not relay.is_followed:
            return None
        self._notify(LEAVING)
        self.bus.requests.answering.is_followed = True
        return relay

    def _unstarted(self) -> NodeState:
        return NodeState.STOPPED if self.node._hm.state is NodeState.CREATED else NodeState.STOPPING

    async def _stop_services(self, deadline: float) -> None:
        services = self.node.bound_services
        for service in services:
            service.ask_to_stop()
        hangs = await asyncio.gather(*(service.stopped(left(deadline)) for service in services))
        for service, where in zip(services, hangs, strict=True):
            if where:
                service.node.logger.error("service %s did not stop and is abandoned; it is in\n%s", service.name, where)

    async def _empty_inboxes(self, deadline: float) -> None:
        subscriptions = self.node.bound_subscriptions
        for subscription in subscriptions:
            self.bus.live.remove(subscription.live)
        hangs = await asyncio.gather(*(one.stopped(left(deadline)) for one in subscriptions))
        for subscription, where in zip(subscriptions, hangs, strict=True):
            if where:
                subscription.node.logger.error(
                    "%s did not finish, %s of %s abandoned; it is in\n%s",
                    subscription.handler.name,
                    amount(subscription.abandoned, "message"),
                    subscription.name,
                    where,
                )

    async def _take_back(self, deadline: float) -> None:
        """Undo a registration in the middle of which we were stopped: it would stay as an instance that was lost."""
        if self._entering is None:
            return
        instance, registering = self._entering
        try:
            async with asyncio.timeout(min(GOODBYE, left(deadline))):
                await self.registry.deregister(instance, await registering)
        except (RedisError, InstanceHeld, LayoutMismatch, TimeoutError):
            pass  # then it was not made, or nothing can be done about it
        await end(registering)

    async def _say_goodbye(self, deadline: float) -> None:
        try:
            await self.bus.flush(left(deadline - 0.5))
        except SendError as error:
            self.node.logger.error("not everything that was sent has arrived: %s", error)
        await self.heart.stop()
        try:
            async with asyncio.timeout(left(deadline)):
                await self.registry.deregister(self.bus.instance, self.bus.incarnation)
                self._notify("left")
                await asyncio.sleep(0)
        except (RedisError, TimeoutError) as error:
            self.node.logger.warning("could not deregister, the lease will end by itself: %s", error)


def about(node: BaseNode, settings: Settings, version: str) -> About:
    """What the registry is told of this process."""
    is_debugged = is_under_debugger()
    return About(
        node=node.name,
        host=this_host(),
        pid=os.getpid(),
        started=time.time(),
        lease=DEBUGGED_LEASE if is_debugged else settings.constants.LEASE,
        process=ProcessIdentity.current(),
        watched=not is_debugged,
        version=version,
        python=platform.python_version(),
        metadata={_clean(key): _clean(value) for key, value in node.metadata().items()},
        payloads=payload_types(node._hm.hosted()),
    )


def _clean(text: object) -> str:
    return str(text).encode("utf-8", "backslashreplace").decode()


def is_under_debugger() -> bool:
    """Whether somebody may stop this process to look at it: then it must not be taken for hung."""
    trace = sys.gettrace()
    tracer = getattr(trace, "__module__", "") or type(trace).__module__
    if not {"debugpy", "pydevd"}.isdisjoint(sys.modules) or (trace is not None and "coverage" not in tracer):
        return True
    return ("-m", "pdb") in pairwise(sys.orig_argv)  # it traces only while it is stepping
