"""What a node declares: recorded by decorators, bound later. Nothing here knows of Redis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import DeclarationError
from ..topics import check_pattern, check_topic

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__hivemind_declared__"


@dataclass(frozen=True, slots=True)
class ServiceDeclaration:
    """A function that observes something and sends it on ``topic``.

    ``every`` is the period in seconds at which it is called; None calls it again as soon as it returns.
    """

    topic: str
    every: float | None = None

    def __post_init__(self) -> None:
        check_topic(self.topic)
        if self.every is not None and not self.every > 0:
            raise DeclarationError(f"service {self.topic!r}: every={self.every!r} has to be more than 0 seconds")


@dataclass(frozen=True, slots=True)
class SubscriptionDeclaration:
    """A function that receives what is sent on topics that match ``pattern``.

    ``workers`` is how many messages it may handle at once; more than one gives up their order. ``raw`` delivers
    bytes that are no JSON, too.
    """

    pattern: str
    workers: int = 1
    raw: bool = False

    def __post_init__(self) -> None:
        check_pattern(self.pattern)
        if not isinstance(self.workers, int) or not 1 <= self.workers <= 1000:
            raise DeclarationError(f"subscription {self.pattern!r}: workers={self.workers!r}: use 1 to 1000")


Declaration = ServiceDeclaration | SubscriptionDeclaration


def service(name: str, *, every: float | None = None) -> Callable[[F], F]:
    """Declare that the function is a service, on the topic ``name``.

    It is called for ever, on a thread of its own if it is a ``def``, as a task if it is an ``async def``; with
    ``every``, once every so many seconds. It may take the service, to send with; it returns None or 0 to go on and
    another int to be finished. ::

        @service("bat-signal-main", every=5.0)
        def signal(self, service):
            service.send("Batman! We need help!")
    """
    return _mark(ServiceDeclaration(name, every))


def subscription(name: str, *, workers: int = 1, raw: bool = False) -> Callable[[F], F]:
    """Declare that the function handles what is sent on topics that match the pattern ``name``.

    It takes the payload and, if it names them, ``message`` and ``node``. An annotated payload is validated. ::

        @subscription("bat-signal-*")
        async def save_the_day(self, payload: str, message):
            self.log_info(f"{message.topic}: {payload}")
    """
    return _mark(SubscriptionDeclaration(name, workers, raw))


def declarations_of(function: object) -> tuple[Declaration, ...]:
    """What was declared of ``function``, in the order in which the decorators are written."""
    return tuple(reversed(getattr(function, MARK, ())))


def _mark(declaration: Declaration) -> Callable[[F], F]:
    def mark(function: F) -> F:
        if not callable(function):
            raise DeclarationError(f"{declaration}: it decorates a function, not {function!r}")
        setattr(function, MARK, (*getattr(function, MARK, ()), declaration))
        return function

    return mark
