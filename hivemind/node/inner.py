"""What the hive needs of a node, apart from what its author sees: everything behind a node's one attribute ``_hm``.

So that an author may call what is his whatever he likes: ``state``, ``stats``, ``components`` and the like.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..bus.bus import Bus
from ..bus.inbox import InboxLimits
from ..data.records import Stats
from ..data.registry import Registry
from ..errors import ConfigurationError, DeclarationError, HivemindError
from ..footprint import Footprint
from ..log import dropped
from ..settings import Settings
from ..states import NODE, NodeState, advance
from ..topics import check_name
from .agreement import Agreement
from .answering import Answering
from .declarations import (
    Declaration,
    ResponderDeclaration,
    ServiceDeclaration,
    SubscriptionDeclaration,
    declarations_of,
)
from .durable import DurableSubscription, check_groups
from .gaps import Gaps
from .keeping import DurableReading, DurableSending
from .lately import Lately
from .middleware import Chain, Outgoing, hive_middleware, middleware_of
from .overdue import Overdue
from .places import line_of, place_of
from .resources import Resources, declared_resources, is_resource
from .responder import Responder, check_names
from .sends import sends
from .service import BoundService
from .subscription import Subscription

if TYPE_CHECKING:
    from .base import BaseNode

OURS = __name__.rpartition(".")[0] + "."  #: where what every node has is defined


class Component(Protocol):
    """Something that lives and dies with a node: a web page, a pool, an actor system."""

    async def start(self, node: BaseNode) -> None:
        """The node is registered and subscribed; its services do not run yet."""

    async def stop(self, node: BaseNode) -> None:
        """Services have stopped and inboxes are empty; messages can still be sent."""


class Inner:
    """The side of ``node`` that whoever runs it sees: what it is made of, what it runs on, and in which state it is.

    ``is_told_of_gaps``: whether its author wrote ``on_gap``. Raises DeclarationError where what he declares cannot be.
    """

    def __init__(self, node: BaseNode, *, is_told_of_gaps: bool = False) -> None:
        self.node = node
        self.state = NodeState.CREATED
        self.start_error = ""
        self._lately = Lately()
        self.waits_for = ""  # what it needs that is not there, in words
        self.limits = InboxLimits()
        self.components: list[Component] = []
        self.declared_resources = declared_resources(node._hm_functions(), node.name)
        self.resources = Resources(self.declared_resources)
        self.chain = Chain(node)
        self.gaps = Gaps(node, is_told_of_gaps)
        self.sending: DurableSending | None = None
        self.hand_over: Callable[[str, Any, Mapping[str, str] | None], None] = self._too_early
        self.bus: Bus | None = None
        self.registry: Registry | None = None
        self.settings: Settings | None = None
        self._overdue, self._overdue_kept = Overdue(), Overdue()  # each carrier has a pace of its own
        self._footprint = Footprint()
        self._loop_thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_forked = self._is_carrying = False
        _inners.add(self)

    # -- declaring

    def check_declaring(self, what: str) -> None:
        """Raise DeclarationError where ``what`` comes too late."""
        if self.state is not NodeState.CREATED:
            raise DeclarationError(f"{self.node.name}: {what} comes too late: the node is {self.state} already")

    def rename(self, name: str) -> None:
        """Give it the name by which the hive knows it; only before it runs."""
        self.check_declaring(f"the name {name!r}")
        self.node.name = check_name(name)
        self.node.logger = logging.getLogger(name)

    def bind(self) -> None:
        """Turn what was declared into services and subscriptions. Called once, by whoever runs the node."""
        node = self.node
        for hook in (node.services, node.subscriptions):
            try:
                hook()
            except ConfigurationError as error:
                raise DeclarationError(f"{line_of(error)}{error}") from error
        for function in node._hm_functions().values():
            for declaration in declarations_of(function):
                try:
                    self._bind(declaration, function)
                except DeclarationError as error:
                    place = place_of(function)
                    raise DeclarationError(f"{place}{str(error).removeprefix(place)}") from error

        self.components.append(Agreement([service.name for service in node.bound_services]))
        kept = [service.declaration for service in node.bound_services if service.declaration.is_kept]
        if kept:
            self.sending = DurableSending(kept)
        if node.bound_durables:
            check_groups(node.name, node.bound_durables)
            self.components.insert(0, DurableReading(node.bound_durables))
        if node.bound_responders:
            check_names(node.name, node.bound_responders)
            self.components.append(Answering(node.bound_responders))

    def _bind(self, declaration: Declaration, function: Callable[..., Any]) -> None:
        node = self.node
        if isinstance(declaration, ServiceDeclaration):
            node.bound_services.append(BoundService(node, declaration, function))
        elif isinstance(declaration, ResponderDeclaration):
            node.bound_responders.append(Responder(node, declaration, function))
        else:
            self.subscribe(declaration, function)

    def subscribe(
        self, declaration: SubscriptionDeclaration, function: Callable[..., Any]
    ) -> Subscription | DurableSubscription:
        """Bind one subscription."""
        if declaration.durable:
            self.node.bound_durables.append(durable := DurableSubscription(self.node, declaration, function))
            return durable
        self.node.bound_subscriptions.append(live := Subscription(self.node, declaration, function))
        return live

    def hosted(self) -> list[BaseNode]:
        """The nodes that run in its process: itself, or those that share one. Asked once it is bound."""
        return [self.node]

    # -- running

    def connected(self, bus: Bus, registry: Registry, settings: Settings) -> None:
        """Give the node what it runs on. Called by whoever runs it, on the loop."""
        self.bus, self.registry, self.settings = bus, registry, settings
        self.hand_over = bus.send
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()

    def dress(self) -> None:
        """Put on the hive's and its own middleware. Called by whoever runs it, once it is connected.

        Raises ConfigurationError where there is no such middleware.
        """
        settings = self.node.settings
        found = middleware_of(self.node, hive_middleware(settings))
        self.chain = Chain(self.node, found, settings.constants.PROPAGATE)
        if self.chain.is_around_sending:
            self.send_through_chain()

    def send_through_chain(self) -> None:
        """From now on whatever is sent passes through the middleware, and carries the headers that travel."""
        if not self._is_carrying:
            self._is_carrying, self.hand_over = True, self.chain.sender(self.node.bus.send)

    def enter(self, state: NodeState) -> None:
        """Go to another state. Called by whoever runs the node."""
        self.state = advance(NODE, self.state, state)

    def stats(self) -> Stats:
        """What the registry says of it at this moment."""
        node, bus = self.node, self.bus
        memory, cpu = self._footprint.look()
        stats = Stats(
            state=self.state.value,
            services=tuple(service.record(self._part(service.node)) for service in node.bound_services),
            subscriptions=(
                *(one.record(self._part(one.node)) for one in node.bound_subscriptions),
                *(one.record(self._part(one.node)) for one in node.bound_durables),
            ),
            responders=tuple(one.record(self._part(one.node)) for one in node.bound_responders),
            outbox=bus.waiting if bus else 0,
            gaps=bus.live.gaps if bus else 0,
            overdue=(late := self.late(bus, time.monotonic()) if bus else 0),
            unconfirmed=bus.keeping.unconfirmed if bus and bus.keeping and late else "",
            outage=bus.outage.text if bus else "",
            log_lost=dropped(),
            unsent=bus.outbox.refused + bus.dropped if bus else 0,
            waits_for=self.waits_for,
            memory=memory,
            cpu=cpu,
            sends=sends(bus, {service.name for service in node.bound_services}) if bus else (),
        )
        return self._lately.added(stats)

    def late(self, bus: Bus, now: float) -> int:
        """How many messages have waited for long, live ones and those that are kept."""
        late, keeping = self._overdue.of(bus.outbox.waiting, bus.outbox.sent, now), bus.keeping
        return late + (self._overdue_kept.of(keeping.waiting, keeping.sent, now) if keeping is not None else 0)

    def _part(self, node: BaseNode) -> str:
        """Whose a service or a subscription of ``node`` is: "" where the process is that node's alone."""
        return "" if node is self.node else node.name

    def _too_early(self, topic: str, payload: Any, headers: Mapping[str, str] | None) -> None:
        self.node.bus.send(topic, payload, headers)  # says that the node does not run

    # -- in a process that was forked from the node's

    def lose(self) -> None:
        """Nothing of the node runs in this process, and its connections are another's: sending and asking raise."""
        self._is_forked, self.hand_over = True, self._refuse

    def _refuse(self, *_: object) -> None:
        raise self._not_here()

    def _not_here(self) -> HivemindError:
        what = f"{self.node.name} does not run in this process, which was forked from its own"
        return HivemindError(f"{what}: `hivemind.connect()` gives it a connection")

    # -- threads, and requests

    @property
    def is_on_loop(self) -> bool:
        """Whether the caller is on the node's event loop, and not on a thread."""
        return threading.get_ident() == self._loop_thread

    def bridge(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return ``coroutine`` to be awaited on the loop; on a thread run it there and return its result."""
        return coroutine if self.is_on_loop else self.call(coroutine)

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run ``coroutine`` on the node's loop and return its result; not from the loop."""
        if self._is_forked:
            coroutine.close()
            raise self._not_here()
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def outgoing(self, name: str, payload: Any, headers: Mapping[str, str] | None) -> Outgoing:
        """A request as the middleware lets it go. Raises what a hook raises, Skip too: who asks has to be told."""
        return self.chain.asking(name, payload, headers)


def functions_of(node: BaseNode) -> dict[str, Callable[..., Any]]:
    """What is declared something, by name, of the node's class and its parents, theirs first.

    Raises DeclarationError where every node has something of that name.
    """
    names: dict[str, None] = {}
    for kind in reversed(type(node).__mro__):
        names.update(dict.fromkeys(vars(kind)))
    static = {name: inspect.getattr_static(type(node), name, None) for name in names}
    declared = [name for name, each in static.items() if declarations_of(each) or is_resource(each)]
    ours = {name for kind in type(node).__mro__ if kind.__module__.startswith(OURS) for name in vars(kind)}
    if taken := ours.union(vars(node)).intersection(declared):
        raise DeclarationError(
            f"{node.name}: a function cannot be called {min(taken)}: every node has something of that name"
        )
    return {name: getattr(node, name) for name in declared}


_inners: weakref.WeakSet[Inner] = weakref.WeakSet()


def _forked() -> None:
    for inner in list(_inners):
        inner.lose()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
