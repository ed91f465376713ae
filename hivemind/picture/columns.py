"""The picture as text: senders | topics | subscribers, each below the other; a run of numbered names is one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ..english import listed
from ..topics import is_instance
from .flows import added
from .graph import FEWEST, LAST_NUMBER, End, Graph, Kind, Row, called, copies, natural

WIDE = 32  #: characters in which several names share a line
ARROW = "→"

_NOBODY_SENDS = {Kind.TOPIC: "(announced)", Kind.PATTERN: "(outside)", Kind.REQUESTS: "(who asks)"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the picture; ``note`` and ``rate`` (None: not known) are of its block, and stand on its first."""

    sender: str
    name: str
    subscriber: str
    note: str
    is_first: bool = True
    rate: float | None = None


def outside(stopped: Collection[str]) -> str:
    """Who feeds a pattern by which something came though no node sends on it now; of programs that were ``stopped`` it
    may be one.
    """
    nodes = sorted({one.rpartition(".")[0] if is_instance(one) else one for one in stopped})
    return f"(outside, or stopped: {listed(nodes)})" if nodes else _NOBODY_SENDS[Kind.PATTERN]


def columns(whole: Graph, stopped: Collection[str] = ()) -> list[Line]:
    """The lines of the picture. Rows with the same senders and subscribers are one block. See ``outside``."""
    blocks: dict[tuple[object, ...], list[Row]] = {}
    for row in whole.rows:
        key = (row.kind, row.note, _sides(row.senders), _sides(row.subscribers))
        blocks.setdefault(key, []).append(row)
    return [line for rows in blocks.values() for line in _block(rows, stopped)]


def folded(names: Iterable[tuple[str, int]]) -> list[str]:
    """Names, each with its number of copies; of ``a1``, ``a2``, ``a3`` with as many copies one: ``a1 … a3``."""
    groups: list[list[tuple[str, int]]] = []
    for one in sorted(names, key=lambda each: natural(each[0])):
        if groups and _follows(groups[-1][-1], one):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [text for group in groups for text in _told(group)]


def stacked(names: Iterable[str]) -> list[str]:
    """Names below each other, as many on a line as ``WIDE`` has room for."""
    lines: list[str] = []
    for name in names:
        if lines and len(lines[-1]) + len(name) + 2 <= WIDE:
            lines[-1] += f", {name}"
        else:
            lines[-1:] = [f"{line}," for line in lines[-1:]]
            lines.append(name)
    return lines


def _told(group: list[tuple[str, int]]) -> list[str]:
    if len(group) < FEWEST:
        return [copies(*one) for one in group]
    (first, count), (last, _) = group[0], group[-1]
    return [f"{copies(f'{first} … {last}', count)} ({len(group)})"]


def _follows(one: tuple[str, int], other: tuple[str, int]) -> bool:
    first, second = LAST_NUMBER.fullmatch(one[0]), LAST_NUMBER.fullmatch(other[0])
    if first is None or second is None or one[1] != other[1]:
        return False
    is_padded = "0" in (first[2][0], second[2][0]) and len(first[2]) != len(second[2])
    return (first[1], first[3]) == (second[1], second[3]) and int(second[2]) == int(first[2]) + 1 and not is_padded


def _block(rows: Sequence[Row], stopped: Collection[str]) -> Iterable[Line]:
    row = rows[0]
    nobody = _NOBODY_SENDS[row.kind]
    if row.kind is Kind.PATTERN:
        nobody = "(nobody)" if row.note else outside(stopped)
    senders = folded(_sides(row.senders)) or [nobody]
    subscribers = folded(_sides(row.subscribers)) or ["(nobody)"]
    names = folded((called(each), 1) for each in rows)
    cells = (stacked(each) for each in (senders, names, subscribers))
    lost = sum(each.lost for each in rows)
    note, rate = row.note or (f"{lost:,} lost" if lost else ""), added(each.rate for each in rows)
    for at, (sender, name, subscriber) in enumerate(zip_longest(*cells, fillvalue="")):
        yield Line(sender, name, subscriber, note if at == 0 else "", at == 0, rate if at == 0 else None)


def _sides(ends: Sequence[End]) -> tuple[tuple[str, int], ...]:
    return tuple((end.node, len(end.instances)) for end in ends)
