"""Whether a node can be loaded, and if not, why: what hived asks before it starts one.

The node is imported to find out: ask in a process that may be broken by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ConfigurationError, NodeLoadError
from ..settings import Settings
from .loading import load_target, make_importable
from .middleware import hive_middleware, middleware_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """``ok``, or the ``reason``, with the file and line that are to blame where the fault has them."""

    ok: bool = True
    file: str | None = None
    line: int | None = None
    reason: str = ""


def check(target: str, settings: Settings) -> Verdict:
    """Whether a node can be loaded, built and bound, with its middleware."""

    def load() -> None:
        node = load_target(target, settings).build()
        node._hm.bind()
        middleware_of(node)

    return _verdict(load)


def check_settings(settings: Settings) -> Verdict:
    """Whether the middleware that the settings name is there."""
    if settings.hive is not None:
        make_importable(settings.hive)
    return _verdict(lambda: hive_middleware(settings))


def _verdict(question: Callable[[], object]) -> Verdict:
    try:
        question()
    except NodeLoadError as error:
        return Verdict(False, str(error.file) if error.file else None, error.line, error.reason)
    except Exception as error:  # noqa: BLE001 - whatever a node file raises is what is asked for
        reason = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
        return Verdict(False, reason=reason)
    return Verdict()
