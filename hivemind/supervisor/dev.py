"""What `hm dev` may do, and what it says before it begins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import ConfigurationError
from ..identity import this_host
from .enabled import existing_imports
from .engine import Engine
from .plan import known_enabled
from .status import registered


def refuse_production(engine: Engine) -> None:
    """Raise ConfigurationError if this hive is in production, or lives on other hosts, too."""
    settings = engine.settings
    if settings.constants.PRODUCTION:
        where = settings.sources.get("PRODUCTION", "the settings")
        raise ConfigurationError(f"{where}: PRODUCTION = True: hm dev keeps its hands off; --join overrides")
    others = sorted(live_hosts(engine) - {this_host(engine.environ)})
    if others:
        raise ConfigurationError(
            f"hive {settings.name} also lives on {', '.join(others)}: hm dev would join it; --join if that is meant"
        )


def live_hosts(engine: Engine) -> set[str]:
    """Hosts with living instances of this hive; none if Redis cannot be asked. An embedded Redis has only ours."""
    if not engine.settings.redis_url:
        return set()
    return {each.about.host for each in asyncio.run(registered(engine)) or () if not each.is_lost}


def not_enabled(engine: Engine, chosen: Sequence[str]) -> list[str]:
    """A sentence for each node that lies under ``nodes/`` but will not run."""
    engine.paths.make()
    enabled, _ = known_enabled(engine.paths, engine.environ)
    running = {*chosen, *(node.name for node in enabled)}
    return [
        f"{name} exists but is not enabled: uncomment `{line}` in nodes/__init__.py"
        for name, line in existing_imports(engine.paths.hive).items()
        if name not in running
    ]
