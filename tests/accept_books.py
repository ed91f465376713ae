"""The books of watchtower: what its nodes counted with their own hands, held against the hive's ledger. Pure.

Words: a *life* is one instance in one incarnation. It keeps a file, which is written before each message that is sent
and in the handler of each message that is received, and once more, ``final``, when it ends politely.

What is exactly true, and checked:

1. *In every life*, killed or not: the handlers counted what the ledger says. ``received`` is the sum of handled,
   failed, invalid, dropped and what is in the inbox, and, in a life that was killed, the one message that was in a
   handler when the file was written (handlers do not await, so the loop sees no other state). No handler ever saw a
   message of one sender and topic twice or out of order.
2. *Between lives*: what a receiver got and what its ledger missed is what was sent: for every sender and topic,
   ``sent - before == received + missed``, where ``before`` is how many went by before the receiver began to count
   (all before the first that it heard, of a sender that was there first; none, of one that came later). A topic of
   which it heard nothing counts as well: beats tell of it. Summed over all senders this is an equality if they ended
   politely, the receiver last. Where a sender was killed, its last words may never have left it, and nobody can know
   of them: then ``received + missed`` lies between what was heard and what the sender wrote down. The same if the
   receiver was killed first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hivemind.topics import matches

TOGETHER = 5000  # milliseconds: of two lives that began within this it is not known who heard the other's first words


@dataclass(frozen=True, slots=True)
class Heard:
    """What a life heard of one sender on one topic: how many, the first and last number, how many out of order."""

    sender: str
    incarnation: int
    topic: str
    count: int
    first: int
    last: int
    disordered: int


@dataclass(frozen=True, slots=True)
class Life:
    """What one life wrote down. ``ledger`` is its only subscription's record; empty if it has none."""

    instance: str
    incarnation: int
    final: bool
    sent: Mapping[str, int]
    heard: tuple[Heard, ...]
    pattern: str
    ledger: Mapping[str, int]

    @property
    def received(self) -> int:
        """How many messages its handlers saw."""
        return sum(one.count for one in self.heard)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: whether it is so, and the figures."""

    what: str
    ok: bool
    figures: str


def read(folder: Path) -> list[Life]:
    """All lives in a folder of tallies, oldest first."""
    lives = [life_from(json.loads(path.read_text())) for path in folder.glob("*.json")]
    return sorted(lives, key=lambda life: life.incarnation)


def life_from(raw: Mapping[str, Any]) -> Life:
    """A life as its file has it."""
    ledgers = raw["subscriptions"]
    return Life(
        raw["instance"],
        raw["incarnation"],
        raw["final"],
        raw["sent"],
        tuple(_heard(stream, numbers) for stream, numbers in raw["heard"].items()),
        ledgers[0]["pattern"] if ledgers else "",
        {key: value for key, value in ledgers[0].items() if isinstance(value, int)} if ledgers else {},
    )


def _heard(stream: str, numbers: Sequence[int]) -> Heard:
    sender, incarnation, topic = stream.split("/", 2)
    return Heard(sender, int(incarnation), topic, *numbers)


def check(lives: Sequence[Life]) -> list[Finding]:
    """Everything that has to be true of the books."""
    receivers = [life for life in lives if life.ledger]
    return [finding for life in receivers for finding in (in_itself(life), with_senders(life, lives))]


def in_itself(life: Life) -> Finding:
    """What one life's handlers counted, against its own ledger."""
    ledger = life.ledger
    in_hand = 0 if life.final else 1
    settled = ledger["handled"] + ledger["failed"]
    known = settled + ledger["invalid"] + ledger["dropped"] + ledger["inbox"]
    disordered = sum(one.disordered for one in life.heard)
    ok = ledger["received"] == known + in_hand and life.received == settled + in_hand and not disordered
    figures = (
        f"received {ledger['received']} = handled {ledger['handled']} + failed {ledger['failed']}"
        f" + invalid {ledger['invalid']} + dropped {ledger['dropped']} + inbox {ledger['inbox']} + in hand {in_hand};"
        f" counted in handlers {life.received}, out of order {disordered}, duplicates kept away {ledger['duplicate']}"
    )
    return Finding(f"{_name(life)}: handlers counted what the ledger says", ok, figures)


def with_senders(life: Life, lives: Sequence[Life]) -> Finding:
    """What one life received and missed, against what was sent to it."""
    senders = {(one.instance, one.incarnation): one for one in lives}
    least = most = 0
    for heard in life.heard:
        sender = senders[heard.sender, heard.incarnation]
        before_least, before_most = unheard_before(life, heard)
        sent = sender.sent[heard.topic]
        least += (sent if sender.final and life.final else heard.last) - before_most
        most += sent - before_least
    for sender, sent in unheard(life, lives):
        least += sent if sender.final and life.final and sender.incarnation > life.incarnation + TOGETHER else 0
        most += sent
    found = life.ledger["received"] + life.ledger["missed"]
    sign = "=" if least == most else "is not more than"
    figures = (
        f"received {life.ledger['received']} + missed {life.ledger['missed']} = {found}; sent to it {sign} {most}"
        f"{'' if least == most else f', heard of {least}'}"
    )
    return Finding(f"{_name(life)}: received and missed what was sent", least <= found <= most, figures)


def unheard_before(life: Life, heard: Heard) -> tuple[int, int]:
    """The least and the most messages of this sender and topic that went by before the receiver began to count."""
    before = heard.first - 1
    if heard.incarnation > life.incarnation + TOGETHER:
        return 0, 0
    return (before, before) if heard.incarnation < life.incarnation else (0, before)


def unheard(life: Life, lives: Sequence[Life]) -> list[tuple[Life, int]]:
    """Lives that sent something for ``life`` on a topic of theirs of which it heard nothing, and how much it was."""
    heard = {(one.sender, one.incarnation, one.topic) for one in life.heard}
    return [
        (sender, sent)
        for sender in lives
        for topic, sent in sender.sent.items()
        if sender.incarnation > life.incarnation - TOGETHER
        and matches(life.pattern, topic)
        and (sender.instance, sender.incarnation, topic) not in heard
    ]


def _name(life: Life) -> str:
    return f"{life.instance} ({'to the end' if life.final else 'killed'}, {life.incarnation})"
