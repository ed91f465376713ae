"""Messages a second while the hive has many wildcard patterns, of which one matches.

Four nodes hold the others. PATTERNS says how a hive keeps patterns: "server" (Redis walks them) or "resolved".
"""

from __future__ import annotations

from collections.abc import Mapping

from hivemind.patterns import RESOLVED, SERVER, PatternMode

from ..bench import Bench, Case, Part, Readings, Setup, measure
from ..processes import node

SIZES: Mapping[PatternMode, tuple[int, ...]] = {SERVER: (1, 100, 1_000), RESOLVED: (1, 1_000, 10_000)}
HOLDERS = 4


def case(patterns: int, mode: PatternMode) -> Case:
    """Measures a rate."""
    beside = [Part(node("hold"), patterns // HOLDERS)] * HOLDERS if patterns > 1 else []
    setup = Setup(node("send"), [Part(node("handle"))], pattern="ben*", beside=beside, patterns=mode)

    def once(bench: Bench) -> Readings:
        return {name(patterns, mode): measure(bench, setup).rate}

    return Case(once, (name(patterns, mode),))


def name(patterns: int, mode: PatternMode) -> str:
    """How it is called in the table."""
    return f"{patterns:,} pattern{'s' if patterns > 1 else ''}, {mode}"


CASES: Mapping[str, Case] = {name(size, mode): case(size, mode) for mode, sizes in SIZES.items() for size in sizes}
