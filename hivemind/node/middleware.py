"""Middleware: what happens around every message that a node sends or handles."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..constants import did_you_mean
from ..errors import ConfigurationError, DeclarationError, HivemindError, Skip
from ..message import Message
from ..settings import Settings
from .carrying import carrying, trace_of, with_carried
from .signature import Handler

if TYPE_CHECKING:
    from .base import BaseNode

HOOKS = ("on_start", "on_shutdown", "before_send", "after_send", "after_reply", "before_handle", "after_handle")
SENDING = ("before_send", "after_send", "after_reply")  #: those of them that cannot wait
T = TypeVar("T")
HandOver = Callable[[str, Any, Mapping[str, str] | None], None]
Replied = Callable[[BaseException | None], None]  #: to be told how a request went
Outgoing = tuple[Any, Mapping[str, str] | None, Replied | None]  #: a request: payload, headers, whom to tell


class Sending:
    """A message on its way out, or a request, whose name is the topic.

    ``payload`` and ``headers`` may be changed; the topic may not. ``notes`` are for hooks, as in Handling.
    """

    __slots__ = ("_is_request", "_node", "_topic", "headers", "notes", "payload")

    def __init__(
        self, node: BaseNode, topic: str, payload: Any, headers: Mapping[str, str] | None, *, is_request: bool = False
    ) -> None:
        self._node, self._topic, self._is_request = node, topic, is_request
        self.payload = payload
        self.headers = dict(headers or {})
        self.notes: dict[str, Any] = {}

    @property
    def is_request(self) -> bool:
        """Whether a reply is waited for: then ``after_reply`` follows."""
        return self._is_request

    @property
    def node(self) -> BaseNode:
        """Who sends."""
        return self._node

    @property
    def topic(self) -> str:
        """Where it goes."""
        return self._topic


@dataclass(slots=True, eq=False)
class Handling:
    """A message that is about to be handled, or was.

    ``payload`` is what the handler gets: it has been validated, and may be replaced. ``headers`` travel with whatever
    is sent until the handler has ended; they begin with those of the message that ``PROPAGATE`` names, and its trace.
    ``handler`` is the name of the function, ``is_request`` whether it answers. ``notes`` are for hooks, which may
    handle many messages at once: what they want to find again.
    """

    node: BaseNode
    handler: str
    message: Message
    payload: Any
    headers: dict[str, str] = field(default_factory=dict)
    is_request: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


class Middleware:
    """Derive from it and override what you need: nothing here does anything.

    ``before_`` hooks run in the order in which middleware is declared, the hive's before the node's, ``after_`` hooks
    in reverse, and only those whose ``before_`` hook has returned. A hook that raises ``Skip`` ends it there, quietly:
    the message is not sent, or counts as handled. The hooks around sending run where ``send`` was called, on the
    loop or on a thread, and cannot wait, so they are ``def``. The others may be ``async def``; for a handler that is a
    ``def`` they are called on its thread, and a coroutine is awaited on the loop meanwhile.
    """

    def __init_subclass__(cls) -> None:
        """Raise DeclarationError for what looks like a hook and would never be called."""
        super().__init_subclass__()
        for name, value in vars(cls).items():
            if not inspect.isfunction(value):
                continue
            if name.startswith(("before_", "after_", "on_")) and name not in HOOKS:
                hint = did_you_mean(name, HOOKS)
                raise DeclarationError(f"{cls.__name__}.{name}: middleware has no such hook{hint}")
            if name in SENDING and inspect.iscoroutinefunction(value):
                raise DeclarationError(f"{cls.__name__}.{name} is an async def: sending cannot wait for it, write def")

    def on_start(self, node: BaseNode) -> Awaitable[None] | None:
        """Called before the node's own ``on_start``; an exception ends the node, as it does there."""
        return None

    def on_shutdown(self, node: BaseNode) -> Awaitable[None] | None:
        """Called after the node's own ``on_shutdown``, when its ``on_start`` has succeeded."""
        return None

    def before_send(self, sending: Sending) -> None:
        """Called before a message is handed over. An exception is raised at ``send``."""

    def after_send(self, sending: Sending, error: BaseException | None) -> None:
        """Called when it was handed over, or was not, because of ``error``. An exception is raised at ``send``."""

    def after_reply(self, sending: Sending, error: BaseException | None) -> None:
        """Called when a request has its reply, or the last of many, or has failed with ``error``; on the loop."""

    def before_handle(self, handling: Handling) -> Awaitable[None] | None:
        """Called before the handler. An exception counts as the handler's."""
        return None

    def after_handle(self, handling: Handling, error: BaseException | None) -> Awaitable[None] | None:
        """Called when the handler has returned, or has raised ``error``. An exception counts as the handler's."""
        return None


class Chain:
    """The middleware of one node, outermost first, and the headers that it passes on."""

    def __init__(self, node: BaseNode, middleware: Sequence[Middleware] = (), propagate: Sequence[str] = ()) -> None:
        self.all = tuple(middleware)
        self._node, self._passed = node, frozenset(propagate)
        self._senders = [one for one in self.all if _has(one, *SENDING)]
        self._handlers = [one for one in self.all if _has(one, "before_handle", "after_handle")]

    @property
    def is_around_sending(self) -> bool:
        """Whether a message that is sent has to pass through it."""
        return bool(self._senders or self.is_around_handling)

    @property
    def is_around_handling(self) -> bool:
        """Whether a message that is handled has to pass through it."""
        return bool(self._handlers or self._passed)

    # -- sending

    def sender(self, hand_over: HandOver) -> HandOver:
        """What hands a message over through this chain."""

        def carry(topic: str, payload: Any, headers: Mapping[str, str] | None) -> None:
            hand_over(topic, payload, with_carried(headers))

        def send(topic: str, payload: Any, headers: Mapping[str, str] | None) -> None:
            sending = Sending(self._node, topic, payload, with_carried(headers))
            with suppress(Skip):
                _send(self._senders, sending, hand_over)

        return send if self._senders else carry

    def asking(self, topic: str, payload: Any, headers: Mapping[str, str] | None) -> Outgoing:
        """What is left of a request behind this chain. Raises what a hook raises, Skip too."""
        carried = with_carried(headers)
        if not self._senders:
            return payload, carried, None
        sending = Sending(self._node, topic, payload, carried, is_request=True)
        _send(self._senders, sending, lambda *_: None)

        def replied(error: BaseException | None) -> None:
            for one in reversed(self._senders):
                one.after_reply(sending, error)

        return sending.payload, sending.headers or None, replied

    # -- handling

    async def handle(
        self, handler: Handler, message: Message, payload: Any, call: Callable[[Any], Awaitable[T]]
    ) -> T | None:
        """Await ``call(payload)`` inside of this chain; None if a hook skipped it. Raises what it, or a hook, does."""
        handling = self._handling(handler, message, payload)
        with carrying(handling.headers), suppress(Skip):
            return await _handle(self._handlers, handling, call)
        return None

    def handle_on_thread(self, handler: Handler, message: Message, payload: Any, call: Callable[[Any], T]) -> T | None:
        """The same on a thread; what is to be awaited is, on the loop."""
        handling = self._handling(handler, message, payload)
        with carrying(handling.headers), suppress(Skip):
            return _handle_on_thread(self._handlers, handling, call)
        return None

    def _handling(self, handler: Handler, message: Message, payload: Any) -> Handling:
        headers = message.headers
        passed = trace_of(headers) | {key: text for key, text in headers.items() if key in self._passed}
        return Handling(self._node, handler.name, message, payload, passed, handler.is_responder)


def _send(chain: Sequence[Middleware], sending: Sending, hand_over: HandOver) -> None:
    if not chain:
        return hand_over(sending.topic, sending.payload, sending.headers or None)
    error: BaseException | None = None
    chain[0].before_send(sending)
    try:
        _send(chain[1:], sending, hand_over)
    except BaseException as raised:
        error = raised
        raise
    finally:
        chain[0].after_send(sending, error)


async def _handle(chain: Sequence[Middleware], handling: Handling, call: Callable[[Any], Awaitable[T]]) -> T:
    if not chain:
        with _of_hooks_only():
            return await call(handling.payload)
    error: BaseException | None = None
    await _maybe(chain[0].before_handle(handling))
    try:
        return await _handle(chain[1:], handling, call)
    except BaseException as raised:
        error = raised
        raise
    finally:
        await _maybe(chain[0].after_handle(handling, error))


def _handle_on_thread(chain: Sequence[Middleware], handling: Handling, call: Callable[[Any], T]) -> T:
    def finish(hooked: Awaitable[None] | None) -> None:
        if hooked is not None:
            handling.node._hm.bridge(_maybe(hooked))

    if not chain:
        with _of_hooks_only():
            return call(handling.payload)
    error: BaseException | None = None
    finish(chain[0].before_handle(handling))
    try:
        return _handle_on_thread(chain[1:], handling, call)
    except BaseException as raised:
        error = raised
        raise
    finally:
        finish(chain[0].after_handle(handling, error))


@contextmanager
def _of_hooks_only() -> Iterator[None]:
    """A handler that raises Skip has failed."""
    try:
        yield
    except Skip as skip:
        raise HivemindError("a handler raised Skip, which is for middleware: return, or raise Reject") from skip


async def _maybe(hooked: Awaitable[None] | None) -> None:
    if hooked is not None:
        await hooked


def _has(one: Middleware, *hooks: str) -> bool:
    return any(getattr(type(one), hook) is not getattr(Middleware, hook) for hook in hooks)


def middleware_of(node: BaseNode, declared: Sequence[type[Middleware]] = ()) -> list[Middleware]:
    """The hive's middleware, which is ``declared``, then the node's own; classes are built without arguments.

    Raises DeclarationError where something else stands there.
    """
    own = node.middleware
    if not isinstance(own, list | tuple):
        raise DeclarationError(f"{node.name}: middleware = {own!r:.100}: write a list of Middleware")
    return [_built(node, one) for one in (*declared, *own)]


def _built(node: BaseNode, one: object) -> Middleware:
    made = one() if inspect.isclass(one) and issubclass(one, Middleware) else one
    if not isinstance(made, Middleware):
        raise DeclarationError(f"{node.name}: middleware holds {one!r:.100}, which does not derive from Middleware")
    return made


def hive_middleware(settings: Settings) -> list[type[Middleware]]:
    """The classes that MIDDLEWARE names. Raises ConfigurationError, with file and line, where one cannot be had."""
    where = f"{settings.sources.get('MIDDLEWARE', 'default')}: MIDDLEWARE"
    return [_load(target, where) for target in settings.constants.MIDDLEWARE]


def _load(target: str, where: str) -> type[Middleware]:
    module_name, _, name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"{where}: {target!r} cannot be imported: {reason}") from error
    kind = getattr(module, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, Middleware)):
        hint = did_you_mean(name, [key for key, value in vars(module).items() if inspect.isclass(value)])
        raise ConfigurationError(f"{where}: {target!r}: no such class derived from Middleware there{hint}")
    return kind
