"""What a node has around its functions: middleware, resources, and headers that travel."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from ..errors import DeclarationError
from .carrying import carried, carrying
from .declarations import declarations_of
from .middleware import Chain, HandOver, Middleware, middleware_of
from .resources import Resource, Resources, declared_resources, is_resource

OURS = __name__.rpartition(".")[0] + "."  #: where what every node has is defined

if TYPE_CHECKING:
    from ..bus.bus import Bus
    from ..settings import Settings
    from .base import BaseNode


class Outfit:
    """The part of a node that says what is around its handlers and its sending."""

    #: What happens around each message that it sends or handles, after the hive's own: see ``Middleware``.
    middleware: Sequence[Middleware | type[Middleware]] = ()

    if TYPE_CHECKING:  # of the node
        name: str
        hand_over: HandOver

        @property
        def bus(self) -> Bus:
            """Its connections."""

        @property
        def settings(self) -> Settings:
            """What its hive says."""

    def _put_together(self) -> None:
        """Look at what is declared. Raises DeclarationError."""
        self.declared_resources: Mapping[str, Resource] = declared_resources(self._functions(), self.name)
        self.held = Resources(self.declared_resources)
        self.chain = Chain(self._node)

    @property
    def _node(self) -> BaseNode:
        return cast("BaseNode", self)

    @property
    def resources(self) -> Mapping[str, Any]:
        """What its functions with ``@resource`` made, by name; there from ``on_start`` to ``on_shutdown``."""
        return self.held.made

    @contextmanager
    def carrying(self, headers: Mapping[str, str] | None = None, /, **more: str) -> Iterator[None]:
        """Let all that is sent inside carry these headers, too; also what tasks send that are started inside.

        With ``PROPAGATE`` in the settings their receivers pass them on to what they send in turn.
        """
        self._send_through_chain()
        with carrying({**carried(), **(headers or {}), **more}):
            yield

    def outgoing(
        self, name: str, payload: Any, headers: Mapping[str, str] | None
    ) -> tuple[Any, Mapping[str, str] | None]:
        """A request as the middleware lets it go. Raises what a hook raises, Skip too: who asks has to be told."""
        return self.chain.passed(name, payload, headers)

    def dress(self) -> None:
        """Put on the hive's and its own middleware. Called by whoever runs it, once it is connected.

        Raises ConfigurationError where there is no such middleware.
        """
        constants = self.settings.constants
        self.chain = Chain(self._node, middleware_of(self._node, constants.MIDDLEWARE), constants.PROPAGATE)
        if self.chain.is_around_sending:
            self._send_through_chain()

    def _send_through_chain(self) -> None:
        self.hand_over = self.chain.sender(self.bus.send)

    def _functions(self) -> dict[str, Callable[..., Any]]:
        """What may be declared something, by name, those of its parents first."""
        names: dict[str, None] = {}
        for kind in reversed(type(self).__mro__):
            names.update(dict.fromkeys(vars(kind)))
        static = {name: inspect.getattr_static(type(self), name, None) for name in names}
        declared = [name for name, each in static.items() if declarations_of(each) or is_resource(each)]
        ours = {name for kind in type(self).__mro__ if kind.__module__.startswith(OURS) for name in vars(kind)}
        if taken := ours.union(vars(self)).intersection(declared):
            raise DeclarationError(
                f"{self.name}: a function cannot be called {min(taken)}: every node has something of that name"
            )
        return {name: getattr(self, name) for name in declared}
