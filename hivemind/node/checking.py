"""Whether a node can be loaded, and if not, why: what hived asks before it starts one.

The node is imported to find out: ask in a process that may be broken by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError, NodeLoadError
from ..settings import Settings
from .base import BaseNode
from .loading import load_target, make_importable
from .middleware import hive_middleware, middleware_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """``ok``, or the ``reason``, with the file and line that are to blame where the fault has them. ``declared`` is
    what the node does: ``sends`` and ``keeps`` (with ``at_disk``), ``hears`` and ``reads``, ``answers``.
    """

    ok: bool = True
    file: str | None = None
    line: int | None = None
    reason: str = ""
    declared: dict[str, Any] = field(default_factory=dict)


def check(target: str, settings: Settings) -> Verdict:
    """Whether a node can be loaded, built and bound, with its middleware."""

    def load() -> dict[str, Any]:
        node = load_target(target, settings).build()
        node._hm.bind()
        middleware_of(node)
        return _declared(node, settings)

    return _verdict(load)


def check_settings(settings: Settings) -> Verdict:
    """Whether the middleware that the settings name is there."""
    if settings.hive is not None:
        make_importable(settings.hive)

    def load() -> dict[str, Any]:
        hive_middleware(settings)
        return {}

    return _verdict(load)


def _declared(node: BaseNode, settings: Settings) -> dict[str, Any]:
    services = [one.declaration for one in node.bound_services]
    kept = [one for one in services if one.is_kept]
    return {
        "sends": [one.topic for one in services if not one.is_kept],
        "keeps": [one.topic for one in kept],
        "at_disk": any((one.confirm or settings.constants.CONFIRM) == "disk" for one in kept),
        "hears": [one.name for one in node.bound_subscriptions],
        "reads": [one.name for one in node.bound_durables],
        "answers": [one.name for one in node.bound_responders],
    }


def _verdict(question: Callable[[], dict[str, Any]]) -> Verdict:
    try:
        return Verdict(declared=question())
    except NodeLoadError as error:
        return Verdict(False, str(error.file) if error.file else None, error.line, error.reason)
    except Exception as error:  # noqa: BLE001 - whatever a node file raises is what is asked for
        reason = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
        return Verdict(False, reason=reason)
