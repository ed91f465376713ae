"""How a bound handler is called: with the payload and what it names, inside of the node's middleware.

Live, durable and responding functions are called in this one way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..message import Message
from .carrying import carrying, trace_in
from .middleware import Chain
from .signature import Handler, is_async

if TYPE_CHECKING:
    from .base import BaseNode

MakeMessage = Callable[..., Message]


class Caller:
    """Calls one handler of a node. ``prepare`` is called when the node's middleware and resources are there.

    ``is_plain`` says that it can be called with the payload and nothing else: whoever has many messages may do that
    without us.
    """

    def __init__(self, node: BaseNode, handler: Handler) -> None:
        self.handler = handler
        self._node = node
        self._chain: Chain | None = None
        self._given: dict[str, Any] = {"node": node} if "node" in handler.wants else {}
        self._wants_message = "message" in handler.wants
        self._plain = handler.function if self.is_plain else None

    def prepare(self) -> None:
        """Take the node's middleware and resources: from now on calls use them."""
        node = self._node
        self._chain = node._hm.chain if node._hm.chain.is_around_handling else None
        self._plain = self.handler.function if self.is_plain else None
        self._given |= {name: node.resources[resource] for name, resource in self.handler.resources.items()}

    @property
    def is_plain(self) -> bool:
        """Whether the handler wants the payload only, and nothing is around it."""
        return self.handler.is_plain and self._chain is None

    def call(self, payload: Any, make: MakeMessage, *source: Any) -> Any:
        """Call it; ``make(*source)`` is the message, should somebody ask: its topic, its envelope as it came or as
        it was read (if it has headers), and more. A coroutine if the handler is async.

        Returns None where middleware skipped the message.
        """
        if self._chain is None:
            if trace := _trace(source):
                return self._in_trace(trace, partial(self._directly, payload, make, source), self.handler.is_async)
            return self._directly(payload, make, source)
        message = make(*source)
        handle = self._chain.handle if self.handler.is_async else self._chain.handle_on_thread
        return handle(self.handler, message, payload, lambda last: self._call(last, message))

    def send(self, payload: Any, consume: Callable[[Any], Any], make: MakeMessage, *source: Any) -> Any:
        """As ``call``, for a handler that yields: ``consume`` gets what it returns, inside of the middleware. A
        coroutine if ``consume`` gives one.
        """
        message = make(*source)
        if self._chain is None:
            if trace := _trace(source):
                call = partial(self._consumed, payload, consume, message)
                return self._in_trace(trace, call, is_async(consume))
            return self._consumed(payload, consume, message)
        handle = self._chain.handle if is_async(consume) else self._chain.handle_on_thread
        return handle(self.handler, message, payload, lambda last: consume(self._call(last, message)))

    def _directly(self, payload: Any, make: MakeMessage, source: tuple[Any, ...]) -> Any:
        if self._plain is not None:
            return self._plain(payload)
        return self._call(payload, make(*source) if self._wants_message else None)

    def _consumed(self, payload: Any, consume: Callable[[Any], Any], message: Message) -> Any:
        return consume(self._call(payload, message))

    def _in_trace(self, trace: dict[str, str], call: Callable[[], Any], is_awaited: bool) -> Any:
        """Let what is sent meanwhile carry ``trace``: without middleware nobody else does."""
        self._node._hm.send_through_chain()
        if is_awaited:
            return _awaited_in(trace, call)
        with carrying(trace):
            return call()

    def _call(self, payload: Any, message: Message | None) -> Any:
        named = {**self._given, "message": message} if self._wants_message else self._given
        name = self.handler.payload
        if name is not None and self.handler.resources:  # it need not be the first
            return self.handler.function(**{name: payload}, **named)
        return self.handler.function(*(() if name is None else (payload,)), **named)


def _trace(source: tuple[Any, ...]) -> dict[str, str]:
    return trace_in(source[1]) if source[1].__class__ is dict else {}


async def _awaited_in(trace: dict[str, str], call: Callable[[], Any]) -> Any:
    with carrying(trace):
        return await call()
