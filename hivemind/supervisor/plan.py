"""The plan: what should run now, after settings, enabled nodes, and what people asked for have been read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from ..errors import HiveNotFound, NodeLoadError
from ..identity import this_host
from ..settings import Settings
from ..topics import check_instance
from .check import Checker
from .code import code_hash
from .desired import read_scale, read_selection, read_stopped
from .enabled import EnabledNode, enabled_nodes, existing_imports
from .files import as_json, inode_of, known_fields, read_json, time_of, within, write_all, write_json
from .paths import HivePaths
from .placement import check_hosts
from .processes import NodePlan
from .sharing import check_shared
from .topology import Problem, Program, RedisProgram, at_home, node_plans, programs

T = TypeVar("T")
RedisFor = Callable[[Settings], RedisProgram | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What should run (``programs``), what was ``stopped`` by hand, and why the rest does not (``problems``)."""

    programs: tuple[Program, ...]
    stopped: tuple[Program, ...] = ()
    problems: tuple[Problem, ...] = ()
    mending: Mapping[str, int] = field(default_factory=dict)  # files whose change may solve a problem, with their times
    settings: str = ""  # changes when hived itself should read its settings again
    elsewhere: tuple[Program, ...] = ()  # what is at home on other hosts

    def program(self, name: str) -> Program | None:
        """The program of that name, whether it runs or was stopped."""
        return next((each for each in (*self.programs, *self.stopped) if each.name == name), None)


def make_plan(
    settings: Settings, environ: Mapping[str, str], *, check: Checker, redis: RedisFor, keep: frozenset[str]
) -> Plan:
    """Read everything and say what should run. Nodes in ``keep`` run already: they are kept, even if now broken.

    Raises ConfigurationError when the settings contradict the hive, or do not let this host take part in it, and
    HiveNotFound outside a hive.
    """
    if settings.hive is None:
        raise HiveNotFound("hived needs a hive: cd into one, or use --hive; `hm new NAME` makes one")
    paths = HivePaths.of(settings)
    selection, scale, host = read_selection(paths), read_scale(paths), this_host(environ)
    if not selection.here:
        check_hosts(settings, host)
        check_shared(settings)
    nodes, problems = wanted_nodes(settings, paths, environ)
    broken = check([node for node in at_home(settings, nodes, scale, selection, host) if node.name not in keep])
    names = {problem.node for problem in broken}
    sound = [node for node in nodes if node.name not in names]
    code = {node.name: code_hash(paths.hive, node.file) for node in sound}
    found = programs(settings, sound, scale=scale, redis=redis(settings), selection=selection, code=code)
    mine, stopped = [each for each in found if each.home in ("", host)], read_stopped(paths)
    return Plan(
        tuple(each for each in mine if each.name not in stopped),
        tuple(each for each in mine if each.name in stopped),
        (*problems, *broken),
        _mending(paths.hive, problems, broken, [node for node in nodes if node.name in names]),
        _fingerprint(settings),
        tuple(each for each in found if each.home not in ("", host)),
    )


def wanted_nodes(
    settings: Settings, paths: HivePaths, environ: Mapping[str, str]
) -> tuple[list[NodePlan], list[Problem]]:
    """The nodes that should run, sound or not, and what is wrong with ``nodes/__init__.py``."""
    paths.make()
    enabled, problems = known_enabled(paths, environ)
    return node_plans(settings, enabled, existing_imports(paths.hive), read_selection(paths)), problems


def known_enabled(paths: HivePaths, environ: Mapping[str, str]) -> tuple[list[EnabledNode], list[Problem]]:
    """What ``nodes/__init__.py`` enables; if it is broken, what it enabled when it last was not, and the problem."""
    try:
        enabled = enabled_nodes(paths.hive, environ)
    except NodeLoadError as error:
        shown = within(paths.hive, Path(str(error.file)))
        return known_before(paths), [
            Problem("nodes", f"{error.reason}; the nodes known before go on", shown, error.line)
        ]
    write_json(paths.enabled, [asdict(node) for node in enabled])
    return enabled, []


def known_before(paths: HivePaths) -> list[EnabledNode]:
    """What ``nodes/__init__.py`` enabled when it last was not broken; nothing if that is not known any more."""
    try:
        return [_read(EnabledNode, each) for each in read_json(paths.enabled) or ()]
    except (TypeError, ValueError):
        return []


def save(paths: HivePaths, plan: Plan, others: Mapping[Path, bytes] = MappingProxyType({})) -> None:
    """Keep what was applied, for status and for the next comparison, and ``others`` with it: all or, on a full disk,
    nothing. Of environments only the names are in the plan. Raises OSError.
    """
    found = {
        "programs": [_saved(each) for each in plan.programs],
        "stopped": [_saved(each) for each in plan.stopped],
        "problems": [asdict(each) for each in plan.problems],
        "mending": plan.mending,
        "settings": plan.settings,
        "elsewhere": [_saved(each) for each in plan.elsewhere],
    }
    write_all({**others, paths.plan: as_json(found)})
    _plan_in.cache_clear()


def load(paths: HivePaths) -> Plan:
    """What was applied last, also by another version; an empty plan if nothing was, or the file is spoilt.

    It is read again only when it was written anew: many ask for it, every second.
    """
    return _plan_in(paths.plan, time_of(paths.plan), inode_of(paths.plan))


@lru_cache(maxsize=2)
def _plan_in(path: Path, _time: int, _inode: int) -> Plan:
    found = read_json(path)
    try:
        return Plan(
            tuple(_loaded(each) for each in found["programs"]),
            tuple(_loaded(each) for each in found.get("stopped", ())),
            tuple(_read(Problem, each) for each in found.get("problems", ())),
            {str(path): int(time) for path, time in found.get("mending", {}).items()},
            str(found.get("settings", "")),
            tuple(_loaded(each) for each in found.get("elsewhere", ())),
        )
    except (TypeError, KeyError, AttributeError, ValueError):
        return Plan(())


def _mending(
    hive: Path, problems: Sequence[Problem], broken: Sequence[Problem], nodes: Sequence[NodePlan]
) -> dict[str, int]:
    named = [str(hive / problem.file) for problem in (*problems, *broken) if problem.file]
    return {path: time_of(path) for path in sorted({*named, *(node.file for node in nodes if node.file)})}


def _saved(program: Program) -> dict[str, object]:
    return {**asdict(program), "env": dict.fromkeys(program.env, "")}


def _loaded(raw: Mapping[str, object]) -> Program:
    """A program as it was saved. Raises ValueError or TypeError where it is none."""
    program = _read(Program, raw)
    check_instance(f"{program.node}.{program.number}")
    return program


def _read(kind: type[T], raw: Mapping[str, object]) -> T:
    """One record of hived's own files. Raises ValueError or TypeError where it is none."""
    reader: TypeAdapter[T] = _reader(cast(Hashable, kind))
    return reader.validate_python(known_fields(kind, raw))


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _fingerprint(settings: Settings) -> str:
    values = settings.constants.model_dump(mode="json", exclude={"NODES"})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
