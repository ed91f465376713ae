"""Changed code is taken up by one instance at a time; the next one's turn is when the one before consumes.

Where a copy of a node does not come up, the others of that node are not touched: they go on with the code that they
have in memory. Other nodes are another matter: each of them is tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .arrival import Arrival, arrivals
from .client import SupervisorClient
from .engine import Engine
from .lives import forget
from .plan import Plan
from .stopping import patience, stop
from .topology import Program


@dataclass(slots=True)
class Rolled:
    """What became of each instance whose turn came, in that order, and which were ``held`` back, with the copy that did
    not come up.
    """

    arrivals: dict[str, Arrival] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)


def with_new_code(before: Plan, plan: Plan) -> list[Program]:
    """The programs of ``plan`` that run other code by now than they did; not those of which that is not known."""
    known = {each.name: each.code for each in before.programs if each.code}
    return [each for each in plan.programs if each.code and known.get(each.name, each.code) != each.code]


def roll(engine: Engine, client: SupervisorClient, programs: Sequence[Program], old: Mapping[str, Program]) -> Rolled:
    """Restart ``programs``, which run as ``old`` says, one by one, as supervisord's configuration has them now.

    Raises SupervisorError.
    """
    done, failed = Rolled(), dict[str, str]()
    for program in programs:
        if program.node in failed:
            done.held[program.name] = failed[program.node]
            continue
        stop(client, [program.name], patience([old.get(program.name, program)]))
        client.remove(program.name)
        forget(engine.paths, program.name)
        client.add(program.name)
        arrival = arrivals(engine, [program.name]).get(program.name)
        if arrival is not None:
            done.arrivals[program.name] = arrival
        if arrival is None or not (arrival.is_there or (arrival.has_ended and arrival.is_well)):
            failed[program.node] = program.name
    return done
