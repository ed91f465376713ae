"""Each node of a hive in one line: what should run of it and what does, by the registry and by hived. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ..english import MOST
from ..supervisor.processes import REDIS, ROOT
from ..supervisor.status import FAILING, ProgramStatus
from ..topics import is_instance
from .failures import fails_in
from .faults import short
from .flows import added
from .snapshot import InstanceView, ResponderView, Snapshot, SubscriptionView, lost_in

BAD = frozenset({"lost", "failing", "fenced", "broken", "quarantined", "exited", "away"})
"""States in which somebody does not do what he should: red, wherever they are shown."""
UP = frozenset({"starting", "running"})  #: what hived says of a program that nothing hinders


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a node: what the registry says of it (``view``), and hived (``program``); one of them is None where
    that knows nothing of it.
    """

    instance: str
    view: InstanceView | None = None
    program: ProgramStatus | None = None

    @property
    def number(self) -> int:
        """Which copy this is, from 0."""
        return int(self.instance.rpartition(".")[2])

    @property
    def state(self) -> str:
        """As the registry has it while it lives, else as hived has it; ``lost`` where that thinks that it is well."""
        alive = self.view is not None and not self.view.record.is_lost
        if self.program is None or (alive and self.program.state != FAILING):
            return "unknown" if self.view is None else self.view.record.state
        if self.program.state in UP and self.view is not None:
            return "lost"
        return self.program.state


@dataclass(frozen=True)
class NodeLine:
    """One node with its copies, lowest number first; ``quarantine`` says why it does not run as asked, or anew.

    What is found by walking all copies is kept: a page asks for it many times.
    """

    name: str
    copies: tuple[Copy, ...] = ()
    quarantine: str = ""
    is_supervised: bool = False

    @cached_property
    def views(self) -> tuple[InstanceView, ...]:
        """What the registry has of it."""
        return tuple(copy.view for copy in self.copies if copy.view is not None)

    @cached_property
    def states(self) -> tuple[tuple[str, int], ...]:
        """How many copies are in each state; who is quarantined without any copy is in that."""
        return tuple(Counter(copy.state for copy in self.copies).items()) or (
            (("quarantined", 1),) if self.quarantine else ()
        )

    @cached_property
    def problem(self) -> str:
        """Why it does not run as asked, or anew; else who has the code of before, or what fails now."""
        old = {
            f"{one.old_code} with the code of before: {short(one.fault)}"
            for copy in self.copies
            if (one := copy.program) is not None and one.old_code
        }
        alive = [view.record for view in self.views if not view.record.is_lost]
        broken = [short(each.fault) for one in alive for each in one.stats.members if each.fault]
        fails = (f"in {one.instance} {clause}" for one in alive for clause in fails_in(one))
        return self.quarantine or "; ".join([*sorted(old), *broken, *fails][:MOST])

    @cached_property
    def hears(self) -> list[SubscriptionView | ResponderView]:
        """All that it receives and answers."""
        subscriptions = [one for view in self.views for one in view.subscriptions]
        return [*subscriptions, *(one for view in self.views for one in view.responders)]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where it runs."""
        return tuple(sorted({view.record.about.host for view in self.views} - {""}))

    @property
    def sends(self) -> float | None:
        """Messages a second; None while that is not known."""
        return added(one.rate for view in self.views for one in view.sending)

    @property
    def receives(self) -> float | None:
        """Messages and requests a second; None while that is not known."""
        return added(one.rate for one in self.hears)

    @property
    def p99(self) -> float | None:
        """In how many seconds 99 of 100 were handled, by whichever of its handlers is slowest."""
        known = (one.p99 for one in self.hears)
        return max((one for one in known if one is not None), default=None)

    @property
    def lost(self) -> int:
        """Messages that reached none of its handlers (missed, dropped at a full inbox, or gone from a stream before),
        and those of its own that never left it.
        """
        return sum(lost_in(view.record) for view in self.views)

    @property
    def failed(self) -> int:
        """Messages and requests whose handler raised, and calls of its services that did."""
        services = sum(one.record.restarts for view in self.views for one in view.services)
        return services + sum(one.record.failed for one in self.hears)

    @property
    def restarts(self) -> int:
        """How often hived had to start copies anew."""
        return sum(copy.program.revivals for copy in self.copies if copy.program is not None)

    @property
    def memory(self) -> int:
        """Bytes of all that live; 0 where that is not known."""
        return sum(view.record.stats.memory for view in self.views if not view.record.is_lost)

    @property
    def cpu(self) -> float:
        """Processors that all together use: 1.0 is all of one."""
        return sum(view.record.stats.cpu for view in self.views if not view.record.is_lost)

    def to_json(self) -> dict[str, Any]:
        """What ``/api/nodes/<node>`` says beside the instances; stable names."""
        programs = [asdict(copy.program) for copy in self.copies if copy.program is not None]
        return {
            "node": self.name,
            "states": dict(self.states),
            "hosts": list(self.hosts),
            "problem": self.problem,
            "programs": programs,
        }


def node_lines(snapshot: Snapshot) -> tuple[NodeLine, ...]:
    """Every node that somebody knows of, by name; ``root`` comes last."""
    should = snapshot.state.should
    views = {view.record.instance: view for view in snapshot.instances}
    programs = {_instance(one.name): one for one in should.programs.values() if one.name != REDIS}
    copies: dict[str, list[Copy]] = {}
    for name in views.keys() | {name for name in programs if is_instance(name)}:
        node = name.rpartition(".")[0]
        copies.setdefault(node, []).append(Copy(name, views.get(name), programs.get(name)))
    problems: dict[str, str] = {}
    for each in should.problems:
        problems.setdefault(each.node, each.text)
    for name, one in programs.items():
        if "." not in name:
            problems.setdefault(name, one.detail)
    names = sorted(copies.keys() | problems.keys(), key=lambda name: (name == ROOT, name))
    return tuple(_line(name, copies.get(name, []), problems.get(name, "")) for name in names)


def node_line(snapshot: Snapshot, name: str) -> NodeLine | None:
    """The node of that name, or of one of its copies, or the process that it shares with others; None if nobody knows
    it.
    """
    name = name.rpartition(".")[0] if is_instance(name) else name
    lines = node_lines(snapshot)
    sharing = next((view.record.node for view in snapshot.instances if name in view.record.nodes), name)
    own = next((line for line in lines if line.name == name and line.copies), None)
    return own or next((line for line in lines if line.name in (sharing, name)), None)


def _line(name: str, copies: list[Copy], problem: str) -> NodeLine:
    ordered = tuple(sorted(copies, key=lambda copy: copy.number))
    return NodeLine(name, ordered, problem, bool(problem) or any(copy.program is not None for copy in ordered))


def _instance(program: str) -> str:
    """The instance that a program is; a node's name that has none, because it cannot run, stays as it is."""
    return f"{ROOT}.0" if program == ROOT else program
