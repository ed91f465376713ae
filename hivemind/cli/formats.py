"""What `hm status` says to programs that watch."""

from __future__ import annotations

from typing import Any

from ..picture.health import Health, Level
from ..picture.limits import Figures, Limits

WORDS = {Level.WELL: "OK", Level.NOTE: "WARNING", Level.TROUBLE: "CRITICAL", Level.UNKNOWN: "UNKNOWN"}
CODES = {word: code for code, word in enumerate(WORDS.values())}


def as_object(health: Health, found: Figures) -> dict[str, Any]:
    """For ``--format json``; stable names."""
    troubles = (*health.troubles, *([health.unseen] if health.unseen else []))
    told = {"troubles": troubles, "notes": health.notes, "starting": health.starting}
    counts = {"instances": health.running, "nodes": health.nodes}
    figures = {"lag": found.lag, "age": round(found.age, 3), "loss": found.loss, "dead_letters": found.dead}
    judged = {"well": health.is_well, "level": health.level.value, "sentence": health.sentence}
    return {**judged, **told, **counts, **figures}


def nagios(health: Health, found: Figures, limits: Limits) -> tuple[str, int]:
    """One line with performance data, and the exit code, by the guidelines for plugins of Nagios, Icinga, Checkmk."""
    word = WORDS[health.level]
    said = f"HIVEMIND {word} - {' '.join(health.sentence.replace('|', '/').split())}"
    if health.unseen:
        return said, CODES[word]
    figures = (
        f"instances={health.running};;;0",
        f"lag={found.lag};;{_most(limits.lag)};0",
        f"age={found.age:.3f}s;;{_most(limits.age)};0",
        f"loss={found.loss}c;;{_most(limits.loss)};0",
        f"dead_letters={found.dead};;;0",
    )
    return f"{said} | {' '.join(figures)}", CODES[word]


def _most(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}"
