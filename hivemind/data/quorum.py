"""Whether the Sentinels of a hive could replace its primary: a judgement over facts, for `hm doctor`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..bus.sentinels import SentinelFacts
from .checkup import HIDDEN, Finding, Level

ENOUGH = 3  #: Sentinels of which one may be away


def of_sentinels(told: Sequence[SentinelFacts]) -> list[Finding]:
    """One finding; none where no Sentinel is named."""
    if not told:
        return []
    if all(one.is_hidden for one in told):
        return [Finding(Level.UNKNOWN, "Sentinels", f"SENTINEL CKQUORUM: {HIDDEN}")]
    told = [one for one in told if not one.is_hidden]
    silent = [one for one in told if one.error]
    away = "; ".join(f"{one.where}: {one.error}" for one in silent)
    if len(silent) == len(told):
        means = "nobody says where the primary is: who has to connect anew waits"
        return [Finding(Level.RED, "Sentinels", f"none tells: {away}", means, "start them, or see REDIS_URL")]
    if doubtful := [one for one in told if not one.error and not one.can_replace]:
        found = "; ".join([*(f"{one.where}: {one.said}" for one in doubtful), *filter(None, [away])])
        means = "a primary that dies is replaced by nobody"
        return [Finding(Level.RED, "Sentinels", found, means, "start Sentinels until most of them run")]
    if silent:
        means = "one less may be too few to replace a primary"
        return [Finding(Level.YELLOW, "Sentinels", away, means, "start it, or take it out of REDIS_URL")]
    if len(told) < ENOUGH:
        means = "with one of them away nobody may replace the primary, or nobody says where it is"
        return [Finding(Level.YELLOW, "Sentinels", f"REDIS_URL names {len(told)}", means, f"name {ENOUGH} or more")]
    return [Finding(Level.GREEN, "Sentinels", f"{len(told)} answer, and could replace the primary")]
