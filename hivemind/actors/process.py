"""What authors of actors derive from: mailboxes, hooks, and what an actor can do."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from .. import errors
from .answer import Answer
from .body import checked
from .declared import DECODE_ATTRIBUTE, INSTALL_ATTRIBUTE, ROUTE_ATTRIBUTE, Declared, F, declared, install, route
from .pid import PID
from .timers import Timer
from .watches import Watch

if TYPE_CHECKING:
    from .cell import Cell
    from .system import System

ASK = 5.0
"""Seconds that who asks waits, unless it says otherwise."""


class Process:
    """An actor: it has mailboxes, does one thing at a time, and shares nothing with others but messages.

    ::

        class Ping(Process):
            @install("ping")
            def ping(self, from_pid, body):
                self.send(from_pid, "pong", body)

    Handlers are methods: a ``def`` one runs on a thread, where it may block, an ``async def`` one on the loop, where
    it is faster. ``name`` is the actor's in its context. All of this can be called from any thread.
    """

    ROUTE_ATTRIBUTE, INSTALL_ATTRIBUTE = ROUTE_ATTRIBUTE, INSTALL_ATTRIBUTE
    Error = errors.ActorError
    UnboundProcess = errors.UnboundProcess
    install, route = staticmethod(install), staticmethod(route)

    declared: ClassVar[Declared] = Declared(MappingProxyType({}), MappingProxyType({}))
    _cell: Cell | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.declared = declared(cls)

    def __init__(self, name: str) -> None:
        self.name = name
        self.delegates: dict[str, PID] = {}

    # -- hooks

    def initialize(self) -> Any:
        """Called when it is spawned, before any message. What it raises, ``spawn`` raises, and it was never there."""

    def exited(self, pid: PID, reason: str) -> Any:
        """Called once when an actor that it is linked to has ended or cannot be reached, with why.

        One that takes ``pid`` alone is called so.
        """

    def finalize(self) -> Any:
        """Called as the last thing of its life; not where its process is killed."""

    # -- where it is

    def bind(self, cell: Cell) -> None:
        """Give it its place. Raises InvalidProcess where it has one already."""
        if self._cell is not None and not self._cell.has_ended:
            raise errors.InvalidProcess(f"{self._cell.pid} is spawned already: make another {type(self).__name__}")
        self._cell = cell

    @property
    def pid(self) -> PID:
        """Its address. Raises UnboundProcess before it is spawned."""
        return self._here("pid").pid

    @property
    def context(self) -> System:
        """Where it lives. Raises UnboundProcess before it is spawned."""
        return self._here("context").system

    @property
    def message_names(self) -> tuple[str, ...]:
        """Its mailboxes."""
        return tuple(self.declared.mailboxes)

    @property
    def route_paths(self) -> tuple[str, ...]:
        """Its routes."""
        return tuple(self.declared.routes)

    # -- what it can do

    def send(self, to: PID, method: str, body: bytes | None = None) -> None:
        """Send ``body`` to a mailbox of another actor. It comes once or not at all, in the order of what is sent."""
        cell = self._cell or self._here("send")
        cell.system.post(cell.pid, to, method, body if type(body) is bytes else checked(body))

    def ask(self, to: PID, method: str, body: bytes | None = None, timeout: float = ASK) -> Answer:
        """Send the same, and have what the handler returns, within ``timeout`` seconds: ``await`` it in an
        ``async def``, ``get()`` it elsewhere.
        """
        cell = self._here("ask")
        return cell.system.ask(cell.pid, to, method, checked(body), timeout)

    def link(self, to: PID) -> None:
        """Have ``exited`` called once when that actor has ended, cannot be reached, or is not there."""
        cell = self._here("link")
        cell.system.link(cell.pid, to)

    def unlink(self, to: PID) -> None:
        """Not any more."""
        cell = self._here("unlink")
        cell.system.unlink(cell.pid, to)

    def monitor(self, to: PID, notice: Callable[[PID, str], Any]) -> Watch:
        """Have ``notice(pid, reason)`` called so; ``cancel()`` what it returns to end that."""
        cell = self._here("monitor")
        return cell.system.monitor(cell.pid, to, notice)

    def delay(self, seconds: float, method: str, *arguments: Any) -> Timer:
        """Have a method of its own called in so many seconds; ``cancel()`` what it returns to have it not."""
        cell = self._here("delay")
        return cell.system.delay(seconds, cell.pid, method, *arguments)

    def every(self, seconds: float, method: str, *arguments: Any) -> Timer:
        """The same again and again. A turn that came too late is left out, not made up for."""
        cell = self._here("every")
        return cell.system.every(seconds, cell.pid, method, *arguments)

    def delegate(self, name: str, pid: PID) -> None:
        """Pass on messages for a mailbox that it does not have, as they came."""
        self.delegates[name] = pid

    def terminate(self) -> None:
        """End after what it does now."""
        cell = self._here("terminate")
        cell.system.terminate(cell.pid)

    def _here(self, what: str) -> Cell:
        if self._cell is None:
            raise errors.UnboundProcess(f"Cannot get {what} of unbound process {self.name!r}: spawn it first.")
        return self._cell


class ProtobufProcess(Process):
    """An actor whose messages are protocol buffers: the full name of a message is its mailbox. Needs ``protobuf``."""

    @staticmethod
    def install(message_type: Any) -> Callable[[F], F]:
        """Let a method take the messages of that type: ``method(self, from_pid, message)``."""
        mark = install(message_type.DESCRIPTOR.full_name)

        def marked(method: F) -> F:
            setattr(method, DECODE_ATTRIBUTE, message_type.FromString)
            return mark(method)

        return marked

    def send(self, to: PID, method: Any, body: bytes | None = None) -> None:
        """Send a message, ``send(to, message)``; or bytes to a mailbox, as any actor does."""
        if body is None and hasattr(method, "DESCRIPTOR"):
            super().send(to, method.DESCRIPTOR.full_name, method.SerializeToString())
        else:
            super().send(to, method, body)
