"""Messages a second while the hive has many wildcard patterns, of which one matches.

A client holds the others. ``PATTERNS`` says how a hive keeps patterns: "server" (Redis walks them) or "resolved".
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..bench import Bench, Part, Readings, Setup, measure
from ..processes import node, peer
from .rate import Case

SIZES = (1, 100, 1_000, 10_000)
VARIABLE = "HIVEMIND_PATTERNS"
MODE = os.environ.get(VARIABLE, "server")


def case(patterns: int) -> Case:
    """Measures a rate."""
    beside = [Part(peer("clients", "hold"), patterns - 1)] if patterns > 1 else []
    setup = Setup(node("send"), [Part(node("handle"))], pattern="ben*", beside=beside)

    def once(bench: Bench) -> Readings:
        return {name(patterns): measure(bench, setup).rate}

    return once


def name(patterns: int) -> str:
    """How it is called in the table."""
    return f"{patterns:,} pattern{'s' if patterns > 1 else ''} ({MODE})"


CASES: Mapping[str, Case] = {name(patterns): case(patterns) for patterns in SIZES}
