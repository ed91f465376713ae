"""How long a topic is kept, and when what is sent there counts as safe: the words ``keep=`` and ``confirm=``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from .errors import ConfigurationError
from .since import is_whole, span

WEEK, MILLION = 7 * 86_400.0, 1_000_000  #: what a durable topic keeps by default
MOST_ENTRIES, MOST_SECONDS = 1_000_000_000, 3650 * 86_400.0


class Tier(StrEnum):
    """What Redis has done with a message before ``flush()`` returns."""

    MEMORY = "memory"  # it has taken it
    SECOND = "second"  # it has taken it, and writes to its disk every second
    DISK = "disk"  # it is on its disk
    REPLICA = "replica"  # a replica has it, too


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a topic is kept: the last ``seconds``, the last ``entries`` (None: that does not matter).

    Of a ``durable`` one nothing goes that a group has yet to acknowledge, however old; of another that is not asked.
    """

    durable: bool = True
    seconds: float | None = WEEK
    entries: int | None = MILLION

    @classmethod
    def of(cls, durable: bool, keep: object) -> Self:
        """What ``durable=`` and ``keep=`` say together. Raises ConfigurationError where ``keep`` cannot be meant."""
        if keep is None:
            return cls(durable)
        text = check_keep(keep)
        return cls(durable, None, int(text)) if text.isdigit() else cls(durable, span(text), None)


def check_keep(value: object) -> str:
    """How long something is kept, as text: a span such as "10m", or a number of messages, from 1.

    Raises ConfigurationError for anything else.
    """
    text = str(value) if value.__class__ in (str, int) else ""
    if is_whole(text) and 0 < int(text) <= MOST_ENTRIES:
        return str(int(text))
    if 0.0 < (span(text) or 0.0) <= MOST_SECONDS:
        return text
    raise ConfigurationError(
        f'keep={value!r}: write how long, such as "90s", "10m", "2h" or "7d" (ten years at most), or how many '
        "messages, from 1"
    )


def check_tier(value: object) -> Tier:
    """One of the tiers. Raises ConfigurationError for anything else."""
    try:
        return Tier(str(value))
    except ValueError:
        names = ", ".join(f'"{tier}"' for tier in Tier)
        raise ConfigurationError(f"confirm={value!r}: write one of {names}") from None
