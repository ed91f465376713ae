"""Which Redis users a hive has, and what each of them may do: from the hive's files, whoever runs where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..bus.credentials import HIVED, NODE, OPERATOR, ROOT
from ..patterns import RESOLVED
from ..topics import Names
from .check import declared
from .desired import read_selection
from .enabled import existing_imports
from .engine import Engine
from .plan import known_enabled
from .processes import ProcessPlan, processes
from .rights import Duties, askers_of, of_hived, of_node, of_operator
from .topology import node_plans


@dataclass(frozen=True, slots=True)
class User:
    """One user, by ``who`` logs in so (see ``bus.credentials``), and the words of ACL SETUSER that say what it may."""

    who: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Users:
    """All that a hive has to have; ``unknown`` are those of processes of which a node cannot be loaded: nobody knows
    what they do, and their users stay as they are.
    """

    known: tuple[User, ...]
    unknown: tuple[str, ...] = ()


def users_of(engine: Engine) -> Users:
    """The users of a hive. Loads every node, in a process of its own. Raises ConfigurationError."""
    found, unknown = _duties(engine)
    names, resolved = Names(engine.settings.name), engine.settings.constants.PATTERNS == RESOLVED
    nodes = []
    for one in found:
        askers = {name: askers_of(name, found) for name in one.answers}
        nodes.append(User(f"{NODE}{one.name}", tuple(of_node(one, names, askers, resolved=resolved))))
    operator = tuple(of_operator(names))
    people = (User(HIVED, tuple(of_hived())), User(OPERATOR, operator), User(ROOT, operator))
    return Users((*people, *nodes), tuple(f"{NODE}{name}" for name in unknown))


def _duties(engine: Engine) -> tuple[list[Duties], list[str]]:
    """What each process does, and those of which that is not known."""
    paths = engine.paths
    paths.make()
    enabled, _ = known_enabled(paths, engine.environ)
    existing = existing_imports(paths.hive)
    plans = {one.name: one for one in node_plans(engine.settings, enabled, existing)}
    if (chosen := read_selection(paths)).only:  # `hm dev -n` runs nodes that are not enabled, too
        plans |= {one.name: one for one in node_plans(engine.settings, enabled, existing, chosen)}
    told = declared(list(plans.values()), paths.hive, engine.environ)
    found, unknown = [], []
    for process in processes(list(plans.values())):
        if all(node.name in told for node in process.members):
            found.append(_of(process, [told[node.name] for node in process.members]))
        else:
            unknown.append(process.name)
    return found, unknown


def _of(process: ProcessPlan, told: Sequence[dict[str, list[str]]]) -> Duties:
    def all_of(what: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for one in told for name in one[what]))

    tunings = [node.tuning for node in process.members]
    more = [topic for one in tunings for topic in one.sends]
    asks = [name for one in tunings for name in one.asks]
    at_disk = any(one["at_disk"] for one in told)
    keeps, hears, reads, answers = map(all_of, ("keeps", "hears", "reads", "answers"))
    return Duties(process.name, (*all_of("sends"), *more), keeps, hears, reads, answers, tuple(asks), at_disk)
