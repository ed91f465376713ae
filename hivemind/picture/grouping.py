"""Makes a large picture small: numbered names, such as sensor-1 to sensor-100, become one that can be opened. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .flows import added
from .graph import FEWEST, LAST_NUMBER, Graph, Hearing, Kind, Row, Sending, natural, place

PLACE = "#"  #: stands for the number, and in no name


@dataclass(frozen=True, slots=True)
class Grouped:
    """A picture in which a group's name has ``#`` in the place of the number; ``nodes`` and ``topics`` say what each
    stands for.
    """

    graph: Graph
    nodes: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)


def grouped(whole: Graph, opened: Collection[str] = ()) -> Grouped:
    """The picture with its groups, but those that are ``opened``, by name."""
    names = {end.node for row in whole.rows for end in row.senders}
    nodes = _groups(names | {end.node for row in whole.rows for end in row.subscribers}, opened)
    rows = [
        Row(row.name, row.kind, _senders(row.senders, nodes), _subscribers(row.subscribers, nodes), row.note)
        for row in whole.rows
    ]
    alike: dict[tuple[Kind, bool], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.kind, bool(row.note)), []).append(row)
    topics, found = dict[str, str](), list[Row]()
    for some in alike.values():
        stems = _groups({row.name for row in some}, opened)
        topics |= stems
        by_stem: dict[str, list[Row]] = {}
        for row in some:
            by_stem.setdefault(stems.get(row.name, row.name), []).append(row)
        found += [_together(stem, each) if len(each) > 1 else each[0] for stem, each in by_stem.items()]
    return Grouped(Graph(tuple(sorted(found, key=place))), _labels(nodes), _labels(topics))


def stem_of(name: str) -> str:
    """The name with ``#`` in the place of its last number; "" if it has none."""
    match = LAST_NUMBER.fullmatch(name)
    return "" if match is None else f"{match[1]}{PLACE}{match[3]}"


def _groups(names: Iterable[str], opened: Collection[str]) -> dict[str, str]:
    """Of each name that is in a group, that group's."""
    found: dict[str, list[str]] = {}
    for name in names:
        if (stem := stem_of(name)) and stem not in opened:
            found.setdefault(stem, []).append(name)
    return {name: stem for stem, each in found.items() if len(each) >= FEWEST for name in each}


def _labels(stems: Mapping[str, str]) -> dict[str, str]:
    """How each group is called, by its name."""
    members: dict[str, list[str]] = {}
    for name in sorted(stems, key=natural):
        members.setdefault(stems[name], []).append(name)
    return {stem: f"{names[0]} … {names[-1]} ({len(names)})" for stem, names in members.items()}


def _senders(ends: Sequence[Sending], nodes: Mapping[str, str]) -> tuple[Sending, ...]:
    found: dict[str, list[Sending]] = {}
    for one in ends:
        found.setdefault(nodes.get(one.node, one.node), []).append(one)
    return tuple(
        each[0]
        if len(each) == 1 and each[0].node == node
        else Sending(node, _instances(each), sum(one.sent for one in each), added(one.rate for one in each))
        for node, each in found.items()
    )


def _subscribers(ends: Sequence[Hearing], nodes: Mapping[str, str]) -> tuple[Hearing, ...]:
    found: dict[str, list[Hearing]] = {}
    for one in ends:
        found.setdefault(nodes.get(one.node, one.node), []).append(one)
    return tuple(
        each[0]
        if len(each) == 1 and each[0].node == node
        else Hearing(
            node,
            _instances(each),
            tuple(dict.fromkeys(pattern for one in each for pattern in one.patterns)),
            sum(one.received for one in each),
            added(one.rate for one in each),
            sum(one.lost for one in each),
            added(one.losing for one in each),
        )
        for node, each in found.items()
    )


def _instances(ends: Iterable[Sending | Hearing]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in ends for name in one.instances))


def _together(stem: str, rows: Sequence[Row]) -> Row:
    """Several rows of one kind as one. What hears several of them by one pattern hears that once."""
    notes = dict.fromkeys(row.note for row in rows)
    note = next(iter(notes)) if len(notes) == 1 else f"something is wrong with {len(rows)} of them"
    return Row(stem, rows[0].kind, _senders([end for row in rows for end in row.senders], {}), _heard(rows), note)


def _heard(rows: Sequence[Row]) -> tuple[Hearing, ...]:
    found: dict[str, Hearing] = {}
    for one in (end for row in rows for end in row.subscribers):
        was = found.get(one.node)
        new = [pattern for pattern in one.patterns if was is None or pattern not in was.patterns]
        if was is None:
            found[one.node] = one
        elif new or not one.patterns:
            found[one.node] = replace(
                was,
                instances=_instances([was, one]),
                patterns=(*was.patterns, *new),
                received=was.received + one.received,
                rate=added((was.rate, one.rate)),
                lost=was.lost + one.lost,
                losing=added((was.losing, one.losing)),
            )
        else:
            found[one.node] = replace(was, instances=_instances([was, one]))
    return tuple(found.values())
