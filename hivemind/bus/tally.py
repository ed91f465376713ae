"""What became of the messages of a group, counted by topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .delivery import Delivery


@dataclass(slots=True)
class Tally:
    """How many messages Redis knows as ``acknowledged``, how many further tries were begun, how many ended as ``dead``
    letters, how many the stream ``lost`` before they were handled, and how many were acknowledged as a ``duplicate`` of
    one that was handled before.
    """

    acknowledged: int = 0
    retried: int = 0
    dead: int = 0
    lost: int = 0
    duplicate: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """A tally, how many messages are held now, how many of them wait for their next try, and those in a handler."""

    tally: Tally = field(default_factory=Tally)
    pending: int = 0
    parked: int = 0
    handling: Sequence[Delivery] = ()


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    return Tally(*map(sum, zip(*map(astuple, tallies), strict=True)))
