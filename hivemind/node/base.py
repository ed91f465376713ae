"""What a node is for its author: declarations, hooks, sending, logging. How it is run is behind ``_hm``."""

from __future__ import annotations

import logging as logging_
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, Unpack, overload

from ..bus.bus import Bus
from ..data.registry import Registry
from ..errors import HivemindError
from ..settings import Settings
from ..topics import check_name
from .carrying import carried, carrying
from .declarations import ResponderDeclaration, ServiceDeclaration, SubscriptionWords, declared
from .durable import DurableSubscription
from .inner import Component, Inner, functions_of
from .logs import Logs
from .middleware import Middleware
from .requesting import Requesting
from .responder import Responder
from .service import AsyncService, BoundService, Service
from .subscription import Subscription

T = TypeVar("T")


class BaseNode(Requesting, Logs):
    """All of a node but how a process runs it; users derive from Node.

    What it has is what the documentation names, and ``_hm``: all other names are its author's.
    """

    #: What happens around each message that it sends or handles, after the hive's own: see ``Middleware``.
    middleware: Sequence[Middleware | type[Middleware]] = ()

    def __init__(self, name: str | None = None) -> None:
        self.name = check_name(name or type(self).__name__.lower().lstrip("_"))
        self.logger = logging_.getLogger(self.name)
        self.bound_services: list[BoundService] = []
        self.bound_subscriptions: list[Subscription] = []
        self.bound_durables: list[DurableSubscription] = []
        self.bound_responders: list[Responder] = []
        self._hm: Inner = Inner(self, is_told_of_gaps=type(self).on_gap is not BaseNode.on_gap)

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
        self._hm.check_declaring(f"service {name!r}")
        bound = BoundService(self, ServiceDeclaration(name, **options), function)
        self.bound_services.append(bound)
        return bound

    def add_subscription(
        self, name: str, function: Callable[..., Any], **words: Unpack[SubscriptionWords]
    ) -> Subscription | DurableSubscription:
        """Declare that ``function`` handles what matches the pattern ``name``; see ``@subscription``, which has the
        same words.
        """
        self._hm.check_declaring(f"subscription {name!r}")
        return self._hm.subscribe(declared(name, words), function)

    def add_responder(
        self, name: str, function: Callable[..., Any], *, workers: int = 1, stream: bool = False
    ) -> Responder:
        """Declare that ``function`` answers requests called ``name``; see ``@responder``. Called in ``services`` or
        ``subscriptions``.
        """
        self._hm.check_declaring(f"responder {name!r}")
        bound = Responder(self, ResponderDeclaration(name, workers, stream), function)
        self.bound_responders.append(bound)
        return bound

    def attach(self, component: Component) -> None:
        """Let ``component`` live and die with this node."""
        self._hm.check_declaring(repr(component))
        self._hm.components.append(component)

    def _hm_functions(self) -> dict[str, Callable[..., Any]]:
        """What may be declared something, by name. Raises DeclarationError."""
        return functions_of(self)

    # -- while it runs

    @property
    def instance(self) -> str:
        """Which copy of the node this is, such as ``batsignal.0``."""
        return self.bus.instance

    @property
    def settings(self) -> Settings:
        """The settings of the hive it runs in."""
        return self._hm_there(self._hm.settings)

    @property
    def bus(self) -> Bus:
        """Its connection to everybody else."""
        return self._hm_there(self._hm.bus)

    @property
    def registry(self) -> Registry:
        """Who there is in the hive."""
        return self._hm_there(self._hm.registry)

    def _hm_there(self, value: T | None) -> T:
        if value is None:
            raise HivemindError(f"{self.name} is not running: that is there from on_start to on_shutdown")
        return value

    @property
    def is_on_loop(self) -> bool:
        """Whether the caller is on the node's event loop, and not on a thread."""
        return self._hm.is_on_loop

    def send(self, topic: str, payload: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """Hand a message over, from anywhere: handler, hook or thread.

        It waits only on a thread and only while the outbox is full. Raises PayloadError, InvalidName, and OutboxFull
        on the loop: await ``drain()`` between many sends.
        """
        self._hm.hand_over(topic, payload, headers)

    def drain(self) -> Any:
        """Wait until the outbox has room. On the loop it is awaited and gives the loop a turn; on threads called."""
        return self._hm.bridge(self.bus.drain())

    def flush(self, timeout: float = 10.0) -> Any:
        """Return when Redis has confirmed all that was sent before. On the loop it is awaited, on threads called.

        Raises Refused when Redis would not take some of it, Unconfirmed after ``timeout`` seconds.
        """
        return self._hm.bridge(self.bus.flush(timeout))

    @property
    def resources(self) -> Mapping[str, Any]:
        """What its functions with ``@resource`` made, by name; there from ``on_start`` to ``on_shutdown``."""
        return self._hm.resources.made

    @contextmanager
    def carrying(self, headers: Mapping[str, str] | None = None, /, **more: str) -> Iterator[None]:
        """Let all that is sent inside carry these headers, too; also what tasks send that are started inside.

        With ``PROPAGATE`` in the settings their receivers pass them on to what they send in turn.
        """
        self._hm.send_through_chain()
        with carrying({**carried(), **(headers or {}), **more}):
            yield

    def _hm_rim(self) -> Inner:
        return self._hm
