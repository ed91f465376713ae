"""What a node needs before it begins: other nodes that consume, and topics that somebody receives. Pure.

A need is the name of a node, or of a process that nodes share; or a topic, where it is no node's name and could not be
one, such as ``bat-signal-main``; or, whatever it is called, ``topic:orders``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..constants import NodeTuning
from ..states import NodeState
from ..topics import matches
from .records import BROKEN, Instance

TOPIC = "topic:"  #: begins a need that can only be a topic
Needed = Mapping[str, Sequence[str]]  #: what each node needs; a process that nodes share, its members


@dataclass(frozen=True, slots=True)
class Party:
    """A node, or a process that nodes share, of which a copy lives: what that receives, and whether it does by now."""

    name: str
    is_ready: bool
    receives: tuple[str, ...] = ()  # patterns, and names of requests


@dataclass(frozen=True, slots=True)
class Wait:
    """For what a node has to wait still, and what it does not wait for, because that needs the node itself."""

    missing: tuple[str, ...] = ()
    ring: tuple[str, ...] = ()


def topic_of(need: str) -> str:
    """The topic that ``need`` may mean; "" if it can only be a node."""
    if need.startswith(TOPIC):
        return need.removeprefix(TOPIC)
    return "" if need.isidentifier() else need


def in_words(needs: Iterable[str]) -> str:
    """Several needs, as they stand in a sentence."""
    names = [f"the topic {one.removeprefix(TOPIC)}" if one.startswith(TOPIC) else one for one in needs]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def needed(tunings: Mapping[str, NodeTuning]) -> dict[str, tuple[str, ...]]:
    """What each node of ``NODES`` needs, and of each process that nodes share, who they are."""
    found: dict[str, tuple[str, ...]] = {}
    for name, tuning in tunings.items():
        found[name] = (*found.get(name, ()), *tuning.needs)
        if tuning.process and tuning.process != name:
            found[tuning.process] = (*found.get(tuning.process, ()), name)
    return found


def parties(instances: Iterable[Instance]) -> list[Party]:
    """Who lives, by what the registry says."""
    found = []
    for one in instances:
        process = one.about.process
        if one.is_lost or (process is not None and process.has_ended()):
            continue
        members = one.stats.members
        runs = one.stats.state == NodeState.RUNNING
        is_whole = runs and all(each.state in (NodeState.RUNNING, BROKEN) for each in members)
        found.append(Party(one.node, is_whole, () if members else _received(one)))
        found += [Party(each.name, each.state == NodeState.RUNNING, _received(one, each.name)) for each in members]
    return found


def _received(one: Instance, member: str = "") -> tuple[str, ...]:
    stats = one.stats
    patterns = (each.pattern for each in stats.subscriptions if each.member == member)
    return (*patterns, *(each.name for each in stats.responders if each.member == member))


def wait_of(node: str, needs: Needed, known: Collection[Party]) -> Wait:
    """For what ``node`` has to wait, where ``known`` live. Nodes that need one another do not wait for one another."""
    missing, ring = list[str](), list[str]()
    for need in needs.get(node, ()):
        if any(one.is_ready for one in _meant(need, known)):
            continue
        (ring if node in _reached([need], needs, known) else missing).append(need)
    return Wait(tuple(missing), tuple(ring))


def rings(needs: Needed) -> list[tuple[str, ...]]:
    """The nodes that need one another, as far as that can be known before any runs; each ring once, sorted."""
    reached = {name: _reached(needs[name], needs, ()) for name in needs}
    found = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in needs
        if name in reached[name]
    }
    return sorted(found)


def _meant(need: str, known: Collection[Party]) -> list[Party]:
    """Who lives and may be what is needed."""
    topic = topic_of(need)
    return [
        one for one in known if one.name == need or (topic and any(matches(pattern, topic) for pattern in one.receives))
    ]


def _reached(first: Sequence[str], needs: Needed, known: Collection[Party]) -> set[str]:
    """The names to which one comes from ``first`` by going on to what each needs."""
    found: set[str] = set()
    left = list(first)
    while left:
        need = left.pop()
        for name in {need, *(one.name for one in _meant(need, known))} - found:
            found.add(name)
            left += needs.get(name, ())
    return found
