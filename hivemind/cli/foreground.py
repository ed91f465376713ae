"""`hived start --foreground` in the terminal: what is shown while a hive runs."""

from __future__ import annotations

from ..supervisor.engine import Engine


def watch(engine: Engine) -> int:
    """Run the hive of ``engine`` in the foreground and return the exit code."""
    raise NotImplementedError(engine)
