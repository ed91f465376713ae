"""What `hm start`, `stop`, `restart` and `scale` do to the programs of one hived.

Each changes what is desired, which outlives a restart, and lets ``apply`` bring it about: nothing is started behind
the plan's back, and no reload undoes it. Only what is named is touched: what else of the configuration has changed
since waits for a reload, and is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ..errors import HivemindError, SupervisorError
from ..identity import PidFile
from ..node.loaded import has_loaded
from ..node.relay import Relay
from .apply import apply
from .arrival import Arrival, arrivals, lasting
from .client import LIVE, SupervisorClient
from .desired import read_scale, read_stopped, write_scale, write_stopped
from .engine import Engine
from .lives import forget, read_lives
from .narrow import Meant
from .plan import Plan, load
from .returning import hold_back
from .stopping import patience, stop
from .topology import Problem, Program

MOST_COPIES = 1000  # of one node
WAITING_ENDS = 5.0  # seconds for a keeper that waits to end


class Verb(StrEnum):
    """What can be asked of programs."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    SCALE = "scale"
    ROLL = "roll"
    FIND = "find"  # which of the targets are known; nothing is done
    FACTS = "facts"  # what there is to say of the machine; nothing is done
    STATUS = "status"  # what there is to say of the programs; nothing is done
    LOGS = "logs"  # what is in the log files; nothing is done
    CRASHES = "crashes"  # how the programs ended last against their will; nothing is done


@dataclass(frozen=True, slots=True)
class Request:
    """``verb`` for ``targets``: node names, instances, ``@tag`` or ``@all``; ``replicas`` for scale.

    ``options`` are texts that some verbs take; those that a hived does not know, it ignores.
    """

    verb: Verb
    targets: tuple[str, ...]
    replicas: int = 0
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one program."""

    program: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """What became of each program, and which others wait for a reload because their configuration has changed."""

    results: list[Result]
    waiting: tuple[str, ...] = ()


def select(plan: Plan, targets: Sequence[str]) -> list[Program]:
    """The programs of this hived that ``targets`` name, stopped ones included; never Redis."""
    known = [program for program in (*plan.programs, *plan.stopped) if program.kind != "redis"]
    return sorted((each for each in known if each.is_meant(targets)), key=lambda each: each.name)


def nodes_to_scale(engine: Engine, plan: Plan, targets: Sequence[str]) -> list[str]:
    """The nodes that ``targets`` name, also those that were scaled to nothing, or have no copy at home here: every host
    has to know how many there are.
    """
    every = [each for each in (*plan.programs, *plan.stopped, *plan.elsewhere) if each.kind == "node"]
    known = {each.node for each in every} | read_scale(engine.paths).keys()
    return sorted({each.node for each in every if each.is_meant(targets)} | known.intersection(targets))


def refused(plan: Plan, request: Request) -> list[Result]:
    """Targets that are part of a process that nodes share, and what to ask instead: a part is not acted on."""
    found = []
    for target in request.targets:
        node, dot, number = target.partition(".")
        for program in (*plan.programs, *plan.stopped):
            if node in program.sharing and (not dot or number == str(program.number)):
                others = ", ".join(name for name in program.sharing if name != node) or "nobody else now"
                copies = f" {request.replicas}" if request.verb is Verb.SCALE else ""
                todo = f"`hm {request.verb} {program.node}{copies}` does it for the whole process"
                found.append(Result(target, False, f"shares the process {program.node} with {others}: {todo}"))
                break
    return found


def matches(engine: Engine, request: Request) -> list[str]:
    """What of ``request`` concerns this hived, by name; nothing is done."""
    plan = load(engine.paths)
    if sharing := refused(plan, request):
        return [each.program for each in sharing]
    if request.verb is Verb.SCALE:
        return nodes_to_scale(engine, plan, request.targets)
    return [program.name for program in select(plan, request.targets)]


def find(engine: Engine, targets: Sequence[str]) -> list[Result]:
    """Whether this hived knows each of ``targets``: one result a target, without any text."""
    plan = load(engine.paths)

    def is_known(target: str) -> bool:
        sharing = refused(plan, Request(Verb.FIND, (target,)))
        return bool(sharing or select(plan, [target]) or nodes_to_scale(engine, plan, [target]))

    return [Result(target, is_known(target), "") for target in dict.fromkeys(targets)]


def act(engine: Engine, request: Request) -> Done:
    """Do what is asked, and say for each program what became of it. Takes as long as the slowest stop.

    Raises SupervisorError and ConfigurationError when nothing could be done.
    """
    with engine.lock():
        before = load(engine.paths)
        if sharing := refused(before, request):
            return Done(sharing)
        done = _DO[request.verb](engine, before, request)
        return replace(done, results=with_members(before, done.results))


def with_members(plan: Plan, results: Sequence[Result]) -> list[Result]:
    """The same results, those of a process that nodes share with their names."""
    names = {each.node: ", ".join(each.sharing) for each in (*plan.programs, *plan.stopped)}
    told = [(each, names.get(each.program.partition(".")[0])) for each in results]
    return [replace(each, text=f"{each.text} ({members})") if members and each.ok else each for each, members in told]


def _stop(engine: Engine, before: Plan, request: Request) -> Done:
    names = [program.name for program in select(before, request.targets)]
    were = {program.name for program in before.stopped}
    write_stopped(engine.paths, read_stopped(engine.paths) | frozenset(names))
    done = apply(engine, named(names))
    results = [Result(name, True, "was stopped before" if name in were else "stopped") for name in names]
    return Done(results, done.waiting)


def _start(engine: Engine, before: Plan, request: Request) -> Done:
    names = [program.name for program in select(before, request.targets)]
    with _unharmed(engine.client(), names):
        return _started(engine, names, "started")


@contextmanager
def _unharmed(client: SupervisorClient, names: Collection[str]) -> Iterator[None]:
    """Who of ``names`` runs now is started again where what is done here fails, as on a full disk."""
    live = {info.name for info in client.programs() if info.state in LIVE and info.name in names}
    try:
        yield
    except (HivemindError, OSError):
        with suppress(SupervisorError):
            live -= {info.name for info in client.programs() if info.state in LIVE}
        for name in sorted(live):
            with suppress(SupervisorError):
                client.start(name)
        raise


def _started(engine: Engine, names: Sequence[str], word: str) -> Done:
    client = engine.client()
    were = {info.name for info in client.programs() if info.state in LIVE}
    were -= {name for name in names if _wakes(engine, client, name)}
    write_stopped(engine.paths, read_stopped(engine.paths) - frozenset(names))
    done = apply(engine, named([name for name in names if name not in were]))
    known = {info.name for info in client.programs()}
    for name in names:
        if name in known:
            if name not in were:
                forget(engine.paths, name)
            client.start(name)
    up = _arrived(engine, [name for name in names if name not in were], word)
    results = [Result(name, True, "runs already") for name in names if name in were]
    return Done(sorted((*results, *up), key=lambda each: each.program), done.waiting)


def _wakes(engine: Engine, client: SupervisorClient, name: str) -> bool:
    """Whether ``name`` ended early again and again, and waited: that is over."""
    if read_lives(engine.paths, name).next is None:
        return False
    return not stop(client, [name], WAITING_ENDS)


def named(names: Sequence[str]) -> Meant:
    """Those of these names are meant."""
    return lambda program: program.name in names


def _restart(engine: Engine, before: Plan, request: Request) -> Done:
    programs = select(before, request.targets)
    problems = problems_of(engine, programs)
    faulty = reasons(programs, problems)
    client = engine.client()
    known = {info.name: info for info in client.programs()}
    names = [each.name for each in programs if each.name not in faulty]
    live = {name for name, info in known.items() if info.state in LIVE}
    done = [Result(name, False, text) for name, text in with_what_goes_on(engine, faulty).items()]
    hold_back(engine, [each for each in programs if each.name in live], problems)
    waiting: tuple[str, ...] = ()
    if names:
        with _unharmed(client, names):
            stop(client, [name for name in names if name in known], patience(before.programs))
            up = _started(engine, names, "restarted")
        waiting = up.waiting
        done += up.results
    return Done(sorted(done, key=lambda each: each.program), waiting)


def problems_of(engine: Engine, programs: Sequence[Program], *, in_time: bool = False) -> dict[str, Problem]:
    """What is wrong, by node, with those of ``programs`` that would not load as their files are now, or not
    ``in_time``.
    """
    wanted = {name for each in programs for name in each.members}
    nodes = [node for node in engine.nodes() if node.name in wanted] if wanted else []
    found = engine.check(nodes, in_time=in_time) if nodes else []
    return {problem.node: problem for problem in found}


def reasons(programs: Sequence[Program], problems: Mapping[str, Problem]) -> dict[str, str]:
    """Which of ``programs`` would not load because of ``problems``, and why."""
    return {
        each.name: str(problems[name]) if each.sharing else problems[name].text
        for each in programs
        for name in each.members
        if name in problems
    }


def with_what_goes_on(engine: Engine, faulty: Mapping[str, str]) -> dict[str, str]:
    """What is wrong by program, with the remark that it goes on as it was, where a process of it has loaded."""
    return {
        name: f"{text}; it goes on as it was" if _has_loaded(engine, name) else text for name, text in faulty.items()
    }


def _has_loaded(engine: Engine, name: str) -> bool:
    file = engine.paths.program_pid(name)
    process = PidFile(file).living()
    return process is not None and has_loaded(Relay.at(file), process.pid)


def _scale(engine: Engine, before: Plan, request: Request) -> Done:
    nodes = nodes_to_scale(engine, before, request.targets)
    write_scale(engine.paths, read_scale(engine.paths) | dict.fromkeys(nodes, request.replicas))
    over = {each.name for each in before.stopped if each.node in nodes}
    write_stopped(engine.paths, read_stopped(engine.paths) - over)
    been = {each.name for each in before.programs}
    done = apply(engine, lambda one: one.node in nodes and (one.name not in been or one.number >= request.replicas))
    names = [each.name for each in load(engine.paths).programs if each.node in nodes]
    up = _arrived(engine, [name for name in names if name in done.added], "started")
    up += [Result(name, True, "runs already") for name in names if name not in done.added]
    gone = [Result(name, True, "stopped and removed") for name in done.removed]
    return Done([*sorted(up, key=lambda each: each.program), *gone], done.waiting)


_DO = {Verb.START: _start, Verb.STOP: _stop, Verb.RESTART: _restart, Verb.SCALE: _scale}


def _arrived(engine: Engine, names: Sequence[str], what: str) -> list[Result]:
    """Wait until each program is there or has ended, and say which."""
    found, plan = lasting(engine, arrivals(engine, names)), load(engine.paths)
    return [_result(plan, name, found.get(name), what) for name in names]


def _result(plan: Plan, name: str, arrival: Arrival | None, what: str) -> Result:
    if arrival is not None:
        return Result(name, arrival.is_well, arrival.told(what))
    problem = next((each for each in plan.problems if name.startswith(f"{each.node}.")), None)
    return Result(name, False, problem.text if problem else "it is not enabled any more")
