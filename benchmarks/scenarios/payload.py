"""Payloads of several sizes, in MiB a second.

What is under way is bounded in bytes, too, the same for both: Redis cuts off who lets too much pile up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..bench import Bench, Readings, measure
from .rate import BARE, OURS, SETUPS, Case

SIZES = {"64 B": 64, "1 KiB": 1024, "64 KiB": 65_536, "1 MiB": 2**20 - 2}  # the limit counts a text's quotes
UNDER_WAY = 8 * 2**20  #: bytes


def case(peer: str, name: str, size: int) -> Case:
    """Measures bytes of payload."""
    known = SETUPS[peer]
    limit = min(known.limit, UNDER_WAY // size)
    setup = replace(known, payload=str(size), limit=limit)

    def once(bench: Bench) -> Readings:
        return {f"{peer}, {name}": measure(bench, setup).rate * size / 2**20}

    return once


CASES: Mapping[str, Case] = {
    f"{peer}, {name}": case(peer, name, size) for name, size in SIZES.items() for peer in (OURS, BARE)
}
