"""Payloads of several sizes, in MiB a second.

What is under way is bounded in bytes, too, the same for both: Redis cuts off who lets too much pile up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..bench import Bench, Case, Readings, measure
from ..names import BARE, OURS
from .rate import SETUPS

SIZES = {"64 B": 64, "1 KiB": 1024, "64 KiB": 65_536, "1 MiB": 2**20 - 2}  # the limit counts a text's quotes
UNDER_WAY = 8 * 2**20  #: bytes


def case(peer: str, name: str) -> Case:
    """Measures bytes of payload."""
    known, size = SETUPS[peer], SIZES[name]
    limit = min(known.limit, UNDER_WAY // size)
    setup = replace(known, payload=size, limit=limit)

    def once(bench: Bench) -> Readings:
        return {label(peer, name): measure(bench, setup).rate * size / 2**20}

    return Case(once, (label(peer, name),))


def label(peer: str, size: str) -> str:
    """The reading of one peer and one of SIZES, by its name."""
    return f"{peer}, {size}"


CASES: Mapping[str, Case] = {label(peer, name): case(peer, name) for name in SIZES for peer in (OURS, BARE)}
