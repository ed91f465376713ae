"""What Redis has taken and has yet to confirm: that it is on its disk, or that a replica has it.

Asked is on the connection that wrote, behind what it wrote: only there Redis knows what is to be confirmed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from math import inf
from typing import Any

from ..errors import RedisError
from ..retention import Tier
from .commands import Commands, pairs_in
from .link import pack
from .outgoing import Entry, Question
from .queues import weight
from .server_info import info_in, is_valkey, major_version

PATIENCE = 0.025  #: seconds that Redis may take to confirm: meanwhile it does nothing else on this connection
AGAIN, LATE_AGAIN = 0.025, 0.5  #: seconds until it is asked again; when it is late
LATE = 3.0  #: seconds after which a confirmation is late: a disk is written to every second
MUCH = 8 * 1024 * 1024  #: bytes that are appended before it is asked, while there is more to append
_ALWAYS = {b"appendonly": b"yes", b"appendfsync": b"always"}
_LATER = (
    "this Redis writes to its disk later, and cannot be asked whether it has: where it is the hive's own, write "
    'CONFIRM = "disk" in config/hive.py and run `hived reload`; else set appendfsync always in redis.conf'
)
_WITHOUT_AOF = "this Redis has no append-only file (appendonly no)"


class Asking(Question):
    """A question that is under way: whether all that was written before it is confirmed at ``tier``."""

    __slots__ = ("tier",)

    def __init__(self, tier: Tier) -> None:
        super().__init__()
        self.tier = tier


class Proof(Enum):
    """How it is found out whether something is on the disk of a server."""

    WAITAOF = "it says so when it is"
    CONFIG = "it writes to its disk before it answers, or it is not known"


def proof_of(server: Mapping[str, str]) -> Proof:
    """Which proof there is of a server that says that of itself.

    Redis has WAITAOF from 7.2 on; where it writes every second, that answers too early in 7.4 (redis/redis#13793), and
    so it does in Valkey up to 9.1 at least.
    """
    is_early = is_valkey(server) or (major_version(server) or 0) < 8
    return Proof.CONFIG if is_early else Proof.WAITAOF


@dataclass(slots=True)
class Waiting:
    """What waits to be confirmed at one tier, and since when Redis has confirmed nothing though it was asked."""

    entries: list[Entry] = field(default_factory=list)
    reason: str = ""
    since: float = inf
    not_before: float = 0.0

    def is_late(self, now: float) -> bool:
        """Whether that is longer than it should take."""
        return now - self.since > LATE


class Assurance:
    """Messages that wait to be confirmed; ``tiers`` says which topics want more than that Redis has taken them."""

    def __init__(self) -> None:
        self.tiers: dict[str, Tier] = {}
        self._waiting: dict[Tier, Waiting] = {}
        self._asked = self._size = 0
        self._proof: Proof | None = None  # unknown as long as the server did not say what it is

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(one.entries for one in self._waiting.values())

    @property
    def is_asking(self) -> bool:
        """Whether a question is under way."""
        return self._asked > 0

    @property
    def reason(self) -> str:
        """Why something is not confirmed, as far as Redis was asked; else ""."""
        return next((one.reason for one in self._waiting.values() if one.reason), "")

    @property
    def again(self) -> float:
        """When something has to be asked again, by the loop's time; 0.0 if nothing."""
        return min((one.not_before for one in self._waiting.values()), default=0.0)

    def reset(self) -> None:
        """The connection is gone, and with it what could be asked on it."""
        self._waiting.clear()
        self._asked = self._size = 0
        self._proof = None

    def want(self, topic: str, tier: Tier) -> None:
        """What is sent on ``topic`` from now on is confirmed at ``tier``."""
        if tier in (Tier.DISK, Tier.REPLICA):
            self.tiers[topic] = tier
        else:
            self.tiers.pop(topic, None)

    def add(self, tier: Tier, entries: list[Entry]) -> None:
        """Redis has taken these."""
        self._waiting.setdefault(tier, Waiting()).entries += entries
        self._size += weight(entries)

    def ask(self, now: float, coming: set[Tier], *, is_last: bool) -> list[tuple[Asking, bytes]]:
        """What is to be asked behind a write that has messages of the tiers ``coming``, and nothing else waits if it
        ``is_last``.
        """
        if not (is_last or self._size > MUCH):
            return []
        coming |= self._waiting.keys()
        wanted = [tier for tier in coming if tier not in self._waiting or now >= self._waiting[tier].not_before]
        self._asked += len(wanted)
        return [(Asking(tier), self._question(tier)) for tier in wanted]

    def _question(self, tier: Tier) -> bytes:
        limit = int(PATIENCE * 1000)
        if tier is Tier.REPLICA:
            return pack("WAIT", 1, limit)
        if self._proof is None:
            return pack("INFO", "server")
        return pack("WAITAOF", 1, 0, limit) if self._proof is Proof.WAITAOF else pack("CONFIG", "GET", *_ALWAYS)

    def answered(self, tier: Tier, reply: Any, now: float) -> tuple[list[Entry], str]:
        """Redis has answered: what is confirmed by that; and why nothing is, if that takes too long."""
        self._asked -= 1
        if tier is Tier.DISK and self._proof is None:
            self._proof = proof_of(info_in(reply))
            return [], ""
        if tier not in self._waiting:  # it was refused
            return [], ""
        waiting = self._waiting[tier]
        waiting.reason = _fault(tier, reply)
        if not waiting.reason:
            del self._waiting[tier]
            self._size -= weight(waiting.entries)
            return waiting.entries, ""
        waiting.since = min(waiting.since, now)
        is_late = waiting.is_late(now)
        waiting.not_before = now + (LATE_AGAIN if is_late else AGAIN)
        return [], waiting.reason if is_late else ""


def _fault(tier: Tier, reply: Any) -> str:
    """Why an answer confirms nothing; "" if it does."""
    if isinstance(reply, Exception):
        return str(reply)
    if tier is Tier.REPLICA:
        return "" if int(reply) >= 1 else "no replica has it"
    if not isinstance(reply, Mapping) and len(reply) == 2 and isinstance(reply[0], int):
        return "" if reply[0] >= 1 else "it is not on the disk yet"
    said = pairs_in(reply)
    if said.get(b"appendonly") == b"no":
        return _WITHOUT_AOF
    return "" if said == _ALWAYS else _LATER


async def shortfall(commands: Commands, tier: Tier) -> str:
    """What a server lacks for a tier, in words; "" if nothing, or if it does not say."""
    try:
        info = info_in(await commands.execute("INFO"))
        if tier is Tier.REPLICA:
            return "" if info.get("connected_slaves") != "0" else "this Redis has no replica now"
        if tier is not Tier.MEMORY and info.get("aof_enabled") == "0":
            return _WITHOUT_AOF
        if tier is Tier.DISK and proof_of(info) is Proof.CONFIG:
            return _fault(tier, await commands.execute("CONFIG", "GET", *_ALWAYS))
    except RedisError:
        pass  # then it is seen when it matters
    return ""
