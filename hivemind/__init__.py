"""Networks of small independent processes that are nearly impossible to take down.

Names resolve when they are used: importing Node loads neither the web nor the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .client.awaited import AsyncClient
    from .client.client import Client, connect
    from .errors import (
        CannotSettle,
        ConfigurationError,
        DeclarationError,
        Fenced,
        HivemindError,
        HiveNotFound,
        InstanceHeld,
        InvalidName,
        InvalidRequest,
        NodeLoadError,
        NoResponders,
        OutboxFull,
        PayloadError,
        RedisDenied,
        RedisError,
        RedisRefused,
        RedisUnavailable,
        Refused,
        Reject,
        RemoteError,
        RequestError,
        RequestLost,
        RequestTimeout,
        Retry,
        SendError,
        SettingsError,
        Skip,
        SupervisorError,
        Unconfirmed,
    )
    from .message import Message
    from .node.declarations import responder, service, subscription
    from .node.middleware import Handling, Middleware, Sending
    from .node.node import Node
    from .node.resources import resource
    from .node.service import AsyncService, BoundService, Service
    from .node.subscription import Subscription
    from .root.controller import RootController

    _Node = Node
    _Service = BoundService
    _Subscription = Subscription

_WHERE = {  # all other names are errors
    "Node": "node.node",
    "Service": "node.service",
    "AsyncService": "node.service",
    "Subscription": "node.subscription",
    "responder": "node.declarations",
    "service": "node.declarations",
    "subscription": "node.declarations",
    "Handling": "node.middleware",
    "Middleware": "node.middleware",
    "Sending": "node.middleware",
    "resource": "node.resources",
    "Message": "message",
    "AsyncClient": "client.awaited",
    "Client": "client.client",
    "connect": "client.client",
    "RootController": "root.controller",
}
_SEEDS = {  # the names of the original documentation, whose programs run unchanged
    "_Node": ("node.node", "Node"),
    "_Service": ("node.service", "BoundService"),
    "_Subscription": ("node.subscription", "Subscription"),
}

__all__ = [
    "AsyncClient",
    "AsyncService",
    "CannotSettle",
    "Client",
    "ConfigurationError",
    "DeclarationError",
    "Fenced",
    "Handling",
    "HiveNotFound",
    "HivemindError",
    "InstanceHeld",
    "InvalidName",
    "InvalidRequest",
    "Message",
    "Middleware",
    "NoResponders",
    "Node",
    "NodeLoadError",
    "OutboxFull",
    "PayloadError",
    "RedisDenied",
    "RedisError",
    "RedisRefused",
    "RedisUnavailable",
    "Refused",
    "Reject",
    "RemoteError",
    "RequestError",
    "RequestLost",
    "RequestTimeout",
    "Retry",
    "RootController",
    "SendError",
    "Sending",
    "Service",
    "SettingsError",
    "Skip",
    "Subscription",
    "SupervisorError",
    "Unconfirmed",
    "connect",
    "resource",
    "responder",
    "service",
    "subscription",
]


def __getattr__(name: str) -> Any:
    if name in _SEEDS:
        module, attribute = _SEEDS[name]
    elif name in __all__:
        module, attribute = _WHERE.get(name, "errors"), name
    else:
        raise AttributeError(f"module 'hivemind' has no attribute {name!r}")
    return getattr(import_module(f"hivemind.{module}"), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
