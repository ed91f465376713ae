"""Networks of small independent processes that are nearly impossible to take down.

Names resolve when they are used: importing Node loads neither the web nor the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .errors import (
        ConfigurationError,
        DeclarationError,
        Fenced,
        HivemindError,
        HiveNotFound,
        InstanceHeld,
        InvalidName,
        NodeLoadError,
        OutboxFull,
        PayloadError,
        RedisDenied,
        RedisError,
        RedisRefused,
        RedisUnavailable,
        Refused,
        SendError,
        SettingsError,
        SupervisorError,
        Unconfirmed,
    )
    from .message import Message
    from .node.client import connect
    from .node.declarations import service, subscription
    from .node.node import Node
    from .node.service import AsyncService, BoundService, Service
    from .node.subscription import Subscription
    from .root.controller import RootController

    _Node = Node
    _Service = BoundService
    _Subscription = Subscription

_WHERE = {
    "Node": "node.node",
    "Service": "node.service",
    "AsyncService": "node.service",
    "Subscription": "node.subscription",
    "service": "node.declarations",
    "subscription": "node.declarations",
    "Message": "message",
    "connect": "node.client",
    "RootController": "root.controller",
}
_ERRORS = (
    "ConfigurationError",
    "DeclarationError",
    "Fenced",
    "HiveNotFound",
    "HivemindError",
    "InstanceHeld",
    "InvalidName",
    "NodeLoadError",
    "OutboxFull",
    "PayloadError",
    "RedisDenied",
    "RedisError",
    "RedisRefused",
    "RedisUnavailable",
    "Refused",
    "SendError",
    "SettingsError",
    "SupervisorError",
    "Unconfirmed",
)
_SEEDS = {  # the names of the original documentation, whose programs run unchanged
    "_Node": ("node.node", "Node"),
    "_Service": ("node.service", "BoundService"),
    "_Subscription": ("node.subscription", "Subscription"),
}

__all__ = [
    "AsyncService",
    "ConfigurationError",
    "DeclarationError",
    "Fenced",
    "HiveNotFound",
    "HivemindError",
    "InstanceHeld",
    "InvalidName",
    "Message",
    "Node",
    "NodeLoadError",
    "OutboxFull",
    "PayloadError",
    "RedisDenied",
    "RedisError",
    "RedisRefused",
    "RedisUnavailable",
    "Refused",
    "RootController",
    "SendError",
    "Service",
    "SettingsError",
    "Subscription",
    "SupervisorError",
    "Unconfirmed",
    "connect",
    "service",
    "subscription",
]


def __getattr__(name: str) -> Any:
    module, attribute = _SEEDS.get(name) or (_WHERE.get(name) or ("errors" if name in _ERRORS else ""), name)
    if not module:
        raise AttributeError(f"module 'hivemind' has no attribute {name!r}")
    return getattr(import_module(f"hivemind.{module}"), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
