"""Actors in the manner of libprocess: named mailboxes, addressed by ``name@ip:port``, linked to each other.

The names are those of compactor: whoever replaces ``compactor`` by ``hivemind.actors`` has changed all that is to be.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from .answer import Answer
from .context import Context
from .declared import install, route
from .mailbox import DeadLetter, Overflow, Room
from .pid import PID
from .process import Process, ProtobufProcess
from .timers import Timer
from .watches import Watch

__all__ = [
    "PID",
    "Answer",
    "Context",
    "DeadLetter",
    "Overflow",
    "Process",
    "ProtobufProcess",
    "Room",
    "Timer",
    "Watch",
    "after_init",
    "initialize",
    "install",
    "join",
    "route",
    "spawn",
]

F = TypeVar("F", bound=Callable[..., Any])


def initialize(delegate: str = "", **how: Any) -> None:
    """Start the context of this process: ``ip=``, ``port=``. Raises ActorError where it is at another address."""
    Context.singleton(delegate, **how)


def join(timeout: float | None = None) -> None:
    """Wait until the context of this process is stopped, for so many seconds at most."""
    Context.singleton().join(timeout)


def after_init(function: F) -> F:
    """Start the context of this process before each call of ``function``."""

    @wraps(function)
    def started(*arguments: Any, **named: Any) -> Any:
        initialize()
        return function(*arguments, **named)

    return started  # type: ignore[return-value]


def spawn(process: Process) -> PID:
    """Spawn it in the context of this process, which that starts."""
    return Context.singleton().spawn(process)
