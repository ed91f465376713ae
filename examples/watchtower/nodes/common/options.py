"""What can be set from outside: environment variables, each with its default. The README explains them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Below its floor nothing is worth an alert, however unusual it is.
FLOORS = {"cpu": 60.0, "memory": 80.0, "disk": 90.0, "network": 10_000_000.0, "processes": 500.0}


@dataclass(frozen=True, slots=True)
class Options:
    """Times are in seconds; ``warmup``, ``half_life`` and ``spell`` are numbers of samples."""

    every: float = 1.0
    warmup: int = 30
    half_life: float = 300.0
    spell: int = 5
    tree: int | None = None
    alerts: Path | None = None
    tally: Path | None = None
    floors: Mapping[str, float] = field(default_factory=FLOORS.copy)


def options_from(environ: Mapping[str, str]) -> Options:
    """Read the variables ``WATCHTOWER_…``. Raises ValueError for what is no number."""

    def path(name: str) -> Path | None:
        return Path(text).expanduser() if (text := environ.get(f"WATCHTOWER_{name}")) else None

    tree = environ.get("WATCHTOWER_TREE")
    return Options(
        every=float(environ.get("WATCHTOWER_EVERY", "1")),
        warmup=int(environ.get("WATCHTOWER_WARMUP", "30")),
        half_life=float(environ.get("WATCHTOWER_HALF_LIFE", "300")),
        spell=int(environ.get("WATCHTOWER_SPELL", "5")),
        tree=int(tree) if tree else None,
        alerts=path("ALERTS"),
        tally=path("TALLY"),
        floors={name: float(environ.get(f"WATCHTOWER_FLOOR_{name.upper()}", floor)) for name, floor in FLOORS.items()},
    )


OPTIONS = options_from(os.environ)
