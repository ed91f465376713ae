"""Of a new plan only what was asked for: the rest stays as it was, and is named. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from .plan import Plan
from .topology import Problem, Program

Meant = Callable[[Program], bool]


def narrowed(before: Plan, plan: Plan, is_meant: Meant) -> tuple[Plan, tuple[str, ...]]:
    """``plan`` for the programs that are meant, ``before`` for all others; and which of those would change by it.

    What lacks in ``plan`` because its node is broken is no such change: it is tried again when it is mended.
    """
    every = [each for one in (before, plan) for each in (*one.programs, *one.stopped, *one.elsewhere)]
    meant = {each.name for each in every if is_meant(each)}
    nodes = {name for each in every if each.name in meant for name in (each.node, *each.members)}
    files = {file for each in before.programs if each.name not in meant for file in each.members.values()}
    problems = [each for each in before.problems if each.node not in nodes and _is_open(each, plan)]
    problems += [each for each in plan.problems if each.node in nodes]
    kept = replace(
        plan,
        programs=_picked(before.programs, plan.programs, meant),
        stopped=_picked(before.stopped, plan.stopped, meant),
        problems=tuple(problems),
        mending={**plan.mending, **{file: stamp for file, stamp in before.mending.items() if file in files}},
        settings=before.settings,
        elsewhere=_picked(before.elsewhere, plan.elsewhere, meant),
    )
    return kept, _waiting(before, plan, meant)


def is_other(new: Program, old: Program) -> bool:
    """Whether ``old`` has to restart to be ``new``."""
    return _bare(new) != _bare(old)


def _bare(program: Program) -> Program:
    return replace(program, env={}, tags=(), home="", fault="")


def with_code_of(before: Plan, plan: Plan, names: Collection[str]) -> Plan:
    """``plan``, in which the programs of those ``names``, which live on, have the code that they run: that of
    ``before``. Changed code is for a reload or a restart, not for who was adopted.
    """
    old = {each.name: each for each in before.programs if each.name in names and each.code}
    programs = tuple(replace(each, code=old[each.name].code) if each.name in old else each for each in plan.programs)
    return replace(plan, programs=programs)


def _picked(old: Iterable[Program], new: Iterable[Program], meant: Collection[str]) -> tuple[Program, ...]:
    found = [*(each for each in old if each.name not in meant), *(each for each in new if each.name in meant)]
    return tuple(sorted(found, key=lambda each: (each.priority, each.name)))


def _is_open(problem: Problem, plan: Plan) -> bool:
    """Whether a problem of what was not meant is still one."""
    return any(each.node == problem.node for each in plan.problems)


def _waiting(before: Plan, plan: Plan, meant: Collection[str]) -> tuple[str, ...]:
    old = {each.name: each for each in (*before.programs, *before.stopped)}
    new = {each.name: each for each in (*plan.programs, *plan.stopped)}
    broken = {each.node for each in plan.problems}
    return tuple(
        name
        for name in sorted((old.keys() | new.keys()) - {*meant})
        if (is_other(new[name], old[name]) if name in old and name in new else not _is_broken(old.get(name), broken))
    )


def _is_broken(program: Program | None, nodes: Collection[str]) -> bool:
    return program is not None and not {program.node, *program.members}.isdisjoint(nodes)
