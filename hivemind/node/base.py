"""What a node is, without how a process runs it: declarations, hooks, sending, logging."""

from __future__ import annotations

import asyncio
import logging as logging_
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar, Unpack, overload

from ..bus.bus import Bus
from ..bus.inbox import InboxLimits
from ..data.records import Stats
from ..data.registry import Registry
from ..errors import DeclarationError, HivemindError
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
    SubscriptionWords,
    declarations_of,
    declared,
)
from .durable import DurableSubscription, check_groups
from .gaps import Gaps
from .keeping import DurableReading, DurableSending
from .logs import Logs
from .outfit import Outfit
from .overdue import Overdue
from .requesting import Requesting
from .responder import Responder, check_names
from .service import AsyncService, BoundService, Service
from .subscription import Subscription

T = TypeVar("T")


class Component(Protocol):
    """Something that lives and dies with a node: a web page, a pool, an actor system."""

    async def start(self, node: BaseNode) -> None:
        """The node is registered and subscribed; its services do not run yet."""

    async def stop(self, node: BaseNode) -> None:
        """Services have stopped and inboxes are empty; messages can still be sent."""


class BaseNode(Outfit, Requesting, Logs):
    """All of a node but how a process runs it; users derive from Node."""

    def __init__(self, name: str | None = None) -> None:
        self.name = check_name(name or type(self).__name__.lower().lstrip("_"))
        self.state = NodeState.CREATED
        self.start_error = ""
        self.inbox_limits = InboxLimits()
        self.bound_services: list[BoundService] = []
        self.bound_subscriptions: list[Subscription] = []
        self.bound_durables: list[DurableSubscription] = []
        self.bound_responders: list[Responder] = []
        self.sending: DurableSending | None = None
        self.components: list[Component] = []
        self.gap_hook = Gaps(self, type(self).on_gap is not BaseNode.on_gap)
        self.logger = logging_.getLogger(self.name)
        self.hand_over: Callable[[str, Any, Mapping[str, str] | None], None] = self._too_early
        self._put_together()
        self._settings: Settings | None = None
        self._bus: Bus | None = None
        self._registry: Registry | None = None
        self._overdue = Overdue()
        self._loop_thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- to override

    def services(self) -> None:
        """Called once before the node starts: declare services here, with ``add_service``."""

    def subscriptions(self) -> None:
        """Called once before the node starts, after ``services``: declare subscriptions, with ``add_subscription``."""

    def metadata(self) -> Mapping[str, str]:
        """What the registry shows beside the node: called when it registers."""
        return {}

    def on_start(self) -> Awaitable[None] | None:
        """Called when the node is registered and before the first message; an exception ends the node."""
        return None

    def on_shutdown(self) -> Awaitable[None] | None:
        """Called when services have stopped and inboxes are empty; messages can still be sent."""
        return None

    def on_gap(self, topic: str, sender: str, first: int, last: int) -> Awaitable[None] | None:  # noqa: ARG002
        """Called when messages ``first`` to ``last`` of ``sender`` on ``topic`` never came to a live subscription, and
        could not be filled in either: one gap after the other, beside the handlers. A ``def`` runs on a thread.
        """
        return None

    # -- declaring

    @overload
    def add_service(
        self,
        name: str,
        function: Callable[..., Coroutine[Any, Any, Any]],
        *,
        every: float | None = None,
        durable: bool = False,
        keep: str | int | None = None,
        confirm: str | None = None,
    ) -> AsyncService: ...

    @overload
    def add_service(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        every: float | None = None,
        durable: bool = False,
        keep: str | int | None = None,
        confirm: str | None = None,
    ) -> Service: ...

    def add_service(self, name: str, function: Callable[..., Any], **options: Any) -> Any:
        """Declare that ``function`` is a service that sends on the topic ``name``; see ``@service``."""
        self._check_declaring(f"service {name!r}")
        bound = BoundService(self, ServiceDeclaration(name, **options), function)
        self.bound_services.append(bound)
        return bound

    def add_subscription(
        self, name: str, function: Callable[..., Any], **words: Unpack[SubscriptionWords]
    ) -> Subscription | DurableSubscription:
        """Declare that ``function`` handles what matches the pattern ``name``; see ``@subscription``, which has the
        same words.
        """
        self._check_declaring(f"subscription {name!r}")
        return self._bind_subscription(declared(name, words), function)

    def _bind_subscription(
        self, declaration: SubscriptionDeclaration, function: Callable[..., Any]
    ) -> Subscription | DurableSubscription:
        if declaration.durable:
            self.bound_durables.append(durable := DurableSubscription(self, declaration, function))
            return durable
        self.bound_subscriptions.append(live := Subscription(self, declaration, function))
        return live

    def add_responder(
        self, name: str, function: Callable[..., Any], *, workers: int = 1, stream: bool = False
    ) -> Responder:
        """Declare that ``function`` answers requests called ``name``; see ``@responder``. Called in ``services`` or
        ``subscriptions``.
        """
        self._check_declaring(f"responder {name!r}")
        bound = Responder(self, ResponderDeclaration(name, workers, stream), function)
        self.bound_responders.append(bound)
        return bound

    def attach(self, component: Component) -> None:
        """Let ``component`` live and die with this node."""
        self._check_declaring(repr(component))
        self.components.append(component)

    def _check_declaring(self, what: str) -> None:
        if self.state is not NodeState.CREATED:
            raise DeclarationError(f"{self.name}: {what} comes too late: the node is {self.state} already")

    def bind(self) -> None:
        """Turn what was declared into services and subscriptions. Called once, by whoever runs the node."""
        self.services()
        self.subscriptions()
        for function, declaration in self._declared():
            if isinstance(declaration, ServiceDeclaration):
                self.bound_services.append(BoundService(self, declaration, function))
            elif isinstance(declaration, ResponderDeclaration):
                self.bound_responders.append(Responder(self, declaration, function))
            else:
                self._bind_subscription(declaration, function)

        self.components.append(Agreement([service.name for service in self.bound_services]))
        kept = [service.declaration for service in self.bound_services if service.declaration.is_kept]
        if kept:
            self.sending = DurableSending(kept)
        if self.bound_durables:
            check_groups(self.name, self.bound_durables)
            self.components.insert(0, DurableReading(self.bound_durables))
        if self.bound_responders:
            check_names(self.name, self.bound_responders)
            self.components.append(Answering(self.bound_responders))

    def _declared(self) -> list[tuple[Callable[..., Any], Declaration]]:
        return [(each, declaration) for each in self._functions().values() for declaration in declarations_of(each)]

    # -- while it runs

    @property
    def instance(self) -> str:
        """Which copy of the node this is, such as ``batsignal.0``."""
        return self.bus.instance

    @property
    def settings(self) -> Settings:
        """The settings of the hive it runs in."""
        return self._there(self._settings)

    @property
    def bus(self) -> Bus:
        """Its connection to everybody else."""
        return self._there(self._bus)

    @property
    def registry(self) -> Registry:
        """Who there is in the hive."""
        return self._there(self._registry)

    def _too_early(self, topic: str, payload: Any, headers: Mapping[str, str] | None) -> None:
        self.bus.send(topic, payload, headers)  # says that the node does not run

    def _there(self, value: T | None) -> T:
        if value is None:
            raise HivemindError(f"{self.name} is not running: that is there from on_start to on_shutdown")
        return value

    @property
    def is_on_loop(self) -> bool:
        """Whether the caller is on the node's event loop, and not on a thread."""
        return threading.get_ident() == self._loop_thread

    def send(self, topic: str, payload: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """Hand a message over, from anywhere: handler, hook or thread.

        It waits only on a thread and only while the outbox is full. Raises PayloadError, InvalidName, and OutboxFull
        on the loop: await ``drain()`` between many sends.
        """
        self.hand_over(topic, payload, headers)

    def drain(self) -> Any:
        """Wait until the outbox has room. On the loop it is awaited and gives the loop a turn; on threads called."""
        return self.bridge(self.bus.drain())

    def flush(self, timeout: float = 10.0) -> Any:
        """Return when Redis has confirmed all that was sent before. On the loop it is awaited, on threads called.

        Raises Refused when Redis would not take some of it, Unconfirmed after ``timeout`` seconds.
        """
        return self.bridge(self.bus.flush(timeout))

    def bridge(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return ``coroutine`` to be awaited on the loop; on a thread run it there and return its result."""
        return coroutine if self.is_on_loop else self.call(coroutine)

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run ``coroutine`` on the node's loop and return its result; not from the loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def connected(self, bus: Bus, registry: Registry, settings: Settings) -> None:
        """Give the node what it runs on. Called by whoever runs it, on the loop."""
        self._bus, self._registry, self._settings = bus, registry, settings
        self.hand_over = bus.send
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()

    def rename(self, name: str) -> None:
        """Give it the name by which the hive knows it; only before it runs."""
        self._check_declaring(f"the name {name!r}")
        self.name = check_name(name)
        self.logger = logging_.getLogger(name)

    def hosted(self) -> list[BaseNode]:
        """The nodes that run in its process: itself, or those that share one. Asked once it is bound."""
        return [self]

    def enter(self, state: NodeState) -> None:
        """Go to another state. Called by whoever runs the node."""
        self.state = advance(NODE, self.state, state)

    def stats(self) -> Stats:
        """What the registry says of it at this moment."""
        return Stats(
            state=self.state.value,
            services=tuple(service.record(self._part(service.node)) for service in self.bound_services),
            subscriptions=(
                *(one.record(self._part(one.node)) for one in self.bound_subscriptions),
                *(one.record(self._part(one.node)) for one in self.bound_durables),
            ),
            responders=tuple(one.record(self._part(one.node)) for one in self.bound_responders),
            outbox=(waiting := self._bus.waiting if self._bus else 0),
            gaps=self._bus.live.gaps if self._bus else 0,
            overdue=self._overdue.of(waiting, self._bus.outbox.sent, time.monotonic()) if self._bus else 0,
        )

    def _part(self, node: BaseNode) -> str:
        """Whose a service or a subscription of ``node`` is: "" where the process is that node's alone."""
        return "" if node is self else node.name
