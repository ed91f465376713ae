"""What a class of actors declares: its mailboxes and routes. Decided once for the class, not for each message."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import DeclarationError

ROUTE_ATTRIBUTE, INSTALL_ATTRIBUTE = "__route__", "__mailbox__"
DECODE_ATTRIBUTE = "__decode__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that takes what comes to a mailbox or a route. Whether it ``is_async`` is known from the start."""

    function: Callable[..., Any]
    is_async: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """All that a class declares, what it inherits included."""

    mailboxes: MappingProxyType[str, Handler]
    routes: MappingProxyType[str, Handler]


def install(mailbox: str) -> Callable[[F], F]:
    """Let a method take the messages of a mailbox: ``method(self, from_pid, body)``, with the body as bytes.

    One method may have several mailboxes, a mailbox one method. What it returns is the answer to who asked.
    """
    if not isinstance(mailbox, str) or not mailbox:
        raise DeclarationError(f"@install({mailbox!r}): write the name of a mailbox")

    def mark(method: F) -> F:
        _add(method, INSTALL_ATTRIBUTE, mailbox)
        return method

    return mark


def route(path: str) -> Callable[[F], F]:
    """Let a method answer HTTP at ``/<name of the actor><path>``, and below it: ``method(self, request)``.

    What it returns is the answer: bytes, text, None, or what has a JSON form.
    """
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError('Routes must start with "/"')

    def mark(method: F) -> F:
        _add(method, ROUTE_ATTRIBUTE, path.rstrip("/") or "/")
        return method

    return mark


def declared(kind: type) -> Declared:
    """What the class declares. Raises DeclarationError where two methods want the same mailbox or route."""
    methods = {
        name: found
        for name in dir(kind)
        if not name.startswith("__") and callable(found := inspect.getattr_static(kind, name, None))
    }
    return Declared(_by_name(kind, methods, INSTALL_ATTRIBUTE), _by_name(kind, methods, ROUTE_ATTRIBUTE))


def _add(method: Callable[..., Any], attribute: str, name: str) -> None:
    if not inspect.isfunction(method):
        raise DeclarationError(f"@install and @route are for methods, not for {method!r}")
    setattr(method, attribute, (*getattr(method, attribute, ()), name))


def _by_name(kind: type, methods: dict[str, Callable[..., Any]], attribute: str) -> MappingProxyType[str, Handler]:
    found: dict[str, Handler] = {}
    whose: dict[str, str] = {}
    for method, function in methods.items():
        for name in _names(kind, method, attribute):
            if name in found:
                raise DeclarationError(
                    f"{kind.__qualname__}: {whose[name]} and {method} both take {name!r}: leave it to one of them"
                )
            whose[name] = method
            found[name] = Handler(_decoding(function), inspect.iscoroutinefunction(function))
    return MappingProxyType(found)


def _decoding(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, for bytes, where it wants what is decoded of them."""
    decode = getattr(function, DECODE_ATTRIBUTE, None)
    if decode is None:
        return function
    return lambda process, sender, body: function(process, sender, decode(body))


def _names(kind: type, method: str, attribute: str) -> tuple[str, ...]:
    """What the method is marked with: an override that is not marked again is for what the one that it replaces was."""
    for parent in kind.__mro__:
        own = vars(parent).get(method)
        if own is not None and hasattr(own, attribute):
            return tuple(dict.fromkeys(getattr(own, attribute)))
    return ()
