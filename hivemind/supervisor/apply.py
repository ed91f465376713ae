"""Make what runs be what the plan says: write the files, let supervisord read them, touch only what differs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ..errors import SupervisorError
from ..identity import PidFile
from ..last_settings import last_settings, save_settings
from ..node.loaded import is_outdated
from .client import LIVE, Changes, ProgramInfo
from .engine import Engine
from .files import time_of
from .kept import Kept
from .lives import forget
from .narrow import Meant, is_other, narrowed
from .plan import Plan, load
from .releases import draft
from .render import LISTENER
from .returning import going_on_despite, stay, to_mend, way_back, whole
from .rolling import How, Rolled, as_stayed, roll, with_new_code, with_new_settings
from .secure import put_back, settled, widened
from .stopping import patience, stop
from .successor import relay_of
from .topology import Problem
from .writing import write

OF_ALL = ("HIVE_NAME", "REDIS_URL", "PATTERNS")  # in what all processes of a hive have to agree


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done: names of programs that were started anew, restarted, or stopped and forgotten."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    settings_changed: bool = False
    waiting: tuple[str, ...] = ()  # programs that were not meant, and are not as configuration and code are now
    rolled: Rolled = field(default_factory=Rolled)  # what became of those whose code has changed
    rights: tuple[str, ...] = ()  # the users in Redis who may other things than before


def apply(engine: Engine, is_meant: Meant | None = None, how: How | None = None, *, in_turn: bool = False) -> Applied:
    """Plan again and bring it about in a running supervisord. The caller holds the lock.

    With ``is_meant`` only for the programs of which it says so: what else would change waits for a reload; with ``how``
    each of them is rolled like that, whether or not anything of it has changed. What has changed code is rolled; so is,
    ``in_turn``, what has other settings, unless those could not live with the ones before. What is
    not in the result was not touched; a node that runs and would not load any more is a problem, and goes
    on as it was. Raises ConfigurationError, before anything was touched, if the
    settings contradict the hive; SupervisorError if supervisord does not play along: then all is as before.
    """
    before, client = load(engine.paths), engine.client()
    live = {info.name: info for info in client.programs() if info.state in LIVE}
    running = live.keys()
    keep = frozenset(name for program in before.programs if program.name in running for name in program.members)
    plan, waiting = engine.plan(keep), tuple[str, ...]()
    if is_meant is not None:
        plan, waiting = narrowed(before, plan, is_meant)
        plan = replace(
            plan, programs=tuple(whole(engine, each) if each in before.programs else each for each in plan.programs)
        )
    plan, spared = _spare(engine, before, plan, running)
    rolling = {each.name for each in with_new_code(before, plan)}
    rolling |= _outdated(engine, plan, {each.node for each in spared}, is_meant)
    if in_turn and _may_live_together(engine):
        rolling |= {each.name for each in with_new_settings(before, plan)}
    if is_meant is not None and how is not None:
        rolling = {each.name for each in plan.programs if is_meant(each)}
    users = widened(engine)
    try:
        done = bring_about(engine, before, plan, rolling & running, how or How())
    except BaseException:
        put_back(engine, users)
        raise
    rights = settled(engine, users)
    if is_meant is None:
        save_settings(engine.settings)
        known = {each.node for each in (*plan.problems, *spared)}
        spared += [each for each in _spoilt(engine, before, live) if each.node not in known]
    if not waiting and done.rolled.is_well:
        draft(engine.paths)
    is_new = plan.settings != before.settings
    return replace(done, problems=(*plan.problems, *spared), settings_changed=is_new, waiting=waiting, rights=rights)


def bring_about(engine: Engine, before: Plan, plan: Plan, rolling: Collection[str], how: How) -> Applied:
    """Let what runs, which is as ``before``, be as ``plan``; those that are ``rolling`` one after the other. Raises
    SupervisorError; then it is as before.
    """
    client, kept = engine.client(), Kept.of(engine.paths)
    old = {each.name: whole(engine, each) for each in before.programs}
    try:
        write(engine, plan)
        changes = client.reload()
        touch(engine, plan, changes, before, later=rolling)
        rolled = roll(engine, [each for each in plan.programs if each.name in rolling], old, how)
        if rolled.stayed:
            stay(engine, client, as_stayed(engine, rolled, old, plan.programs))
    except OSError:
        with suppress(SupervisorError, OSError):
            kept.put_back()
            touch(engine, before, client.reload(), plan)
        raise
    except SupervisorError as error:
        raise _taken_back(engine, before, plan, kept, error) from error
    changed = tuple(each for each in changes.changed if each not in {LISTENER, *rolled.stayed})
    removed = tuple(each for each in changes.removed if each != LISTENER)
    return Applied(changes.added, changed, removed, rolled=rolled)


def _outdated(engine: Engine, plan: Plan, spared: AbstractSet[str], is_meant: Meant | None) -> set[str]:
    """The programs whose process loaded other code than is there now, whatever was applied: it was started again while
    a file was bad, say. Not those in which a node is ``spared``.
    """
    return {
        each.name
        for each in plan.programs
        if each.code and (is_meant is None or is_meant(each)) and spared.isdisjoint(each.members)
        if (process := PidFile(engine.paths.program_pid(each.name)).living()) is not None
        if is_outdated(relay_of(engine.paths, each.name), process.pid)
    }


def _may_live_together(engine: Engine) -> bool:
    """Whether processes with the settings of now and of before are in one hive."""
    before, now = last_settings(engine.paths.hive), engine.settings
    return before is not None and all(
        getattr(before.constants, name) == getattr(now.constants, name) for name in OF_ALL
    )


def touch(engine: Engine, plan: Plan, changes: Changes, before: Plan, later: Collection[str] = ()) -> None:
    """Stop what was removed, restart what was changed, start what was added; but not what is for ``later``."""
    client = engine.client()
    removed = [name for name in changes.removed if name != LISTENER]
    changed = [name for name in changes.changed if name != LISTENER and name not in later]
    stop(client, [*removed, *changed], patience(before.programs))
    for name in (*removed, *changed):
        client.remove(name)
    order = {program.name: place for place, program in enumerate(plan.programs)}
    for name in sorted((*changed, *changes.added), key=lambda name: order.get(name, 0)):
        forget(engine.paths, name)
        client.add(name)


def _taken_back(engine: Engine, before: Plan, plan: Plan, kept: Kept, error: SupervisorError) -> SupervisorError:
    """Put everything back that can be; the error that says so."""
    try:
        kept.put_back()
        touch(engine, before, engine.client().reload(), plan)
    except (SupervisorError, OSError) as again:
        return SupervisorError(f"{error}. The configuration of before is not in force either: {again}")
    return SupervisorError(f"{error}. Nothing of it was applied: the hive is as it was")


def _spoilt(engine: Engine, before: Plan, live: Mapping[str, ProgramInfo]) -> list[Problem]:
    """Nodes that run and would not load any more: their files have changed since they were started, or are gone."""
    running = [(each, live[each.name].started) for each in before.programs if each.name in live]
    suspects = {
        name
        for program, started in running
        for name, file in program.members.items()
        if file and not 0 < time_of(file) < started * 1e9
    }
    nodes = [node for node in engine.nodes() if node.name in suspects] if suspects else []
    return [_outlived(each) for each in engine.check(nodes)]


def _outlived(problem: Problem) -> Problem:
    """The same, of a node that goes on in spite of it."""
    return replace(problem, reason=f"{problem.reason}; it goes on as it was")


def _spare(engine: Engine, before: Plan, plan: Plan, running: Collection[str]) -> tuple[Plan, list[Problem]]:
    """Keep, as they were, the running programs that ``plan`` would restart with code that does not load."""
    old = {each.name: each for each in before.programs if each.kind == "node" and each.name in running}
    changed = [each for each in plan.programs if each.name in old and is_other(each, old[each.name])]
    touched = {name for each in changed for name in each.members}
    nodes = [node for node in engine.nodes() if node.name in touched] if touched else []
    problems = {each.node: each for each in engine.check(nodes)}
    if not problems:
        return plan, []
    spared = {each.name for each in plan.programs if each.name in old and not problems.keys().isdisjoint(each.members)}
    release = way_back(engine)
    kept = [
        going_on_despite(engine, old[each.name], release, problems) if each.name in spared else each
        for each in plan.programs
    ]
    mending = {**plan.mending, **to_mend(engine, kept, problems)}
    return replace(plan, programs=tuple(kept), mending=mending), [_outlived(each) for each in problems.values()]
